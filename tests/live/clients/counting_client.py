"""A client to be killed: runs numbered statements and says each number once its *reply* has arrived.

``python -m tests.live.clients.counting_client HOW START`` with libpq's ``PG...`` environment. ``HOW`` is
``simple``, ``extended`` or ``pipeline``. A number on standard output means: the client saw that reply.
"""

from __future__ import annotations

import os
import sys

import psycopg

__all__ = ["statement"]


def statement(number: int) -> str:
    """The text of statement ``number``: unique, so that the trail can be searched for it."""
    return f"SELECT /* number {number} */ {number}"


def _say(number: int) -> None:
    os.write(1, b"%d\n" % number)  # unbuffered: what was said survives kill -9


def main(how: str, start: int) -> None:
    with psycopg.connect("", autocommit=True) as connection:
        number = start
        while True:
            if how == "simple":
                result = connection.pgconn.exec_(statement(number).encode())
                if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
                    return
                _say(number)
                number += 1
            elif how == "extended":
                connection.execute(statement(number), prepare=False).fetchone()
                _say(number)
                number += 1
            else:
                with connection.pipeline():
                    cursors = [connection.execute(statement(number + n)) for n in range(20)]
                    for n, cursor in enumerate(cursors):
                        cursor.fetchone()
                        _say(number + n)
                number += 20


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except psycopg.Error as error:
        print(f"ended: {error}", file=sys.stderr)
