"""PostgreSQL itself is the judge of where statements end: results counted against ours."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

from hoopproxy.protocols.postgres.sql import UNCLASSIFIED, statements

pytestmark = pytest.mark.live

FRAGMENTS = [
    "'", "''", "'a'", '"a"', '"', "$$", "$a$", "$$x$$", "--", "/*", "*/", "\n", ";", "; ", "E'", "E'\\''", "\\'", "\\",
    "U&'x'", "B'1'", "N'a'", "x'1f'", "1", "a", "+", "-", "*", "/", " AS b ", " AS ", "e", "$1", "a$b$", ",", "(", ")",
    "SELECT ", "SELECT 1", "::text", "||", "\r", " ",
]  # fmt: skip
HEADS = ["1", "'a'", "'", "E'", "$$", "1--", "1/*", '"a" FROM (SELECT 1 AS a) q']
TAILS = ["", "'", "\n", ";SELECT 2", "*/", "$$", "\n;SELECT 3"]


@pytest.mark.parametrize("conforming", [True, False])
def test_every_text_that_the_server_accepts_has_as_many_statements_as_results(
    postgres15: Any, conforming: bool
) -> None:
    """A statement that only the server sees is one that no deny list refuses."""
    source = random.Random(11)
    accepted, wrong = 0, []
    with psycopg.connect(postgres15.dsn().conninfo, autocommit=True) as connection:
        server = connection.pgconn
        server.exec_(f"SET standard_conforming_strings = {'on' if conforming else 'off'}".encode())
        for _ in range(8000):
            middle = "".join(source.choice(FRAGMENTS) for _ in range(source.randrange(1, 9)))
            text = f"SELECT {source.choice(HEADS)}{middle}{source.choice(TAILS)}".encode()
            server.send_query(text)
            results = []
            while (result := server.get_result()) is not None:
                results.append(result.status)
            if ExecStatus.FATAL_ERROR in results:
                continue
            accepted += 1
            told = statements(text, standard_conforming_strings=conforming)
            count = sum(status != ExecStatus.EMPTY_QUERY for status in results)
            if len(told) != count or any(UNCLASSIFIED in each.verbs for each in told):
                wrong.append((text, count, told))
    assert wrong == []
    assert accepted > 500
