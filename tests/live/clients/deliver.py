"""Stands in for the process that reads the trail: hands numbered events to one sink, again and again until accepted.

``python deliver.py TYPE OPTIONS FOLDER FIRST LAST BATCH``: the options are JSON. One line on standard output a
batch: ``accepted N``, ``failed SENTENCE``; ``stopped`` at the end. Event *n* is of session *n* modulo 7.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.logger import globalLogBeginner, textFileLogObserver

from hoopproxy.discovery import installed
from hoopproxy.events import canonical
from hoopproxy.secrets import Secrets
from hoopproxy.sinks import Delivery, SinkContext

SESSIONS = 7


def event(number: int) -> Delivery:
    session = str(uuid.UUID(int=number % SESSIONS + 1))
    values: dict[str, Any] = {
        "event": {"sql": f"SELECT {number}; -- \n<13>1 - forged\r\u2028\x00\x1b[31m", "number": number},
        "id": str(uuid.UUID(int=(7 << 76) + (1 << 63) + number)),
        "identity": {"id": "alice"},
        "journal": str(uuid.UUID(int=1)),
        "jseq": number,
        "kind": "command.requested",
        "seq": number // SESSIONS,
        "session": session,
        "time": "2026-11-23T19:11:38.201000Z",
        "v": 1,
    }
    if number % 500 == 0:
        values["event"]["sql"] += "x" * 200_000
    return Delivery(body=canonical(values), event=values)


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(reactor: Any, kind: str, options: str, folder: str, first: str, last: str, batch: str) -> None:
    secrets = Secrets()

    def secret(reference: str) -> Any:
        from hoopproxy.config import SecretRef

        scheme, _, rest = reference.partition(":")
        return secrets.resolve(SecretRef(scheme, rest, Path(folder)))

    plugin = installed().sinks[kind]
    values = json.loads(options)
    problems = plugin.problems(values, Path(folder))
    assert not problems, problems
    context = SinkContext(
        name="live", folder=Path(folder), base=Path(folder), node="gateway-1", reactor=reactor, secret=secret
    )
    sink, number, pause = None, int(first), 0.05
    while number <= int(last):
        try:
            if sink is None:
                sink = plugin.make(values, context)
                await maybeDeferred(sink.start)
            events = [event(each) for each in range(number, min(number + int(batch), int(last) + 1))]
            await maybeDeferred(sink.deliver, events)
        except Exception as error:
            say("failed", str(error).replace("\n", " ") or type(error).__name__)
            await task.deferLater(reactor, pause)
            pause = min(2 * pause, 1.0)
            continue
        number, pause = number + len(events), 0.05
        say("accepted", number - 1)
    await maybeDeferred(sink.stop)
    say("stopped")


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    task.react(lambda reactor, *arguments: ensureDeferred(main(reactor, *arguments)), sys.argv[1:])
