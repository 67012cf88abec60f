"""The conformance suite for sinks: what the reader process relies on, asked of yours."""

# Twisted's failures are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from hoopproxy.errors import SecretUnavailable
from hoopproxy.events import canonical
from hoopproxy.interfaces import IAuditSink, ISinkPlugin
from hoopproxy.sinks import Delivery, SinkContext

__all__ = ["check_sink", "deliveries"]

_HOSTILE = (
    "plain",
    "two\nlines\r\nand a \u2028 separator, a \x00 and a \x1b]0;title\x07",
    '{"kind":"forged"}\n<34>1 forged',
    "\u00e9\u4e16\U0001f600",
    "x" * 300_000,
    "",
)


def deliveries(
    first: int = 1, count: int = 1, text: str = "SELECT 1", *, kind: str = "session.note"
) -> list[Delivery]:
    """Events as a sink is handed them: canonical JSON, consecutive, of one session."""
    made = []
    for number in range(first, first + count):
        event = {
            "event": {"detail": {"text": text}, "what": "test"},
            "id": f"0190a000-0000-7000-8000-{number:012x}",
            "journal": "0190a000-0000-7000-8000-000000000000",
            "jseq": number,
            "kind": kind,
            "mono": number,
            "node": "gw1",
            "seq": number,
            "session": "0190a000-0000-7000-8000-00000000aaaa",
            "time": "2026-01-01T00:00:00.000000Z",
            "v": 1,
        }
        made.append(Delivery(body=canonical(event), event=event))
    return made


def check_sink(
    plugin: Any,
    options: Mapping[str, object],
    received: Callable[[], Sequence[bytes]],
    *,
    base: Path,
    reactor: Any = None,
    secrets: Mapping[str, bytes] | None = None,
    settle: Callable[[], object] = lambda: None,
    broken: Callable[[], AbstractContextManager[object]] | None = None,
) -> None:
    """Hold a sink to its interface. :raises AssertionError: it breaks a promise; the text says which.

    :param plugin: provides ``ISinkPlugin``. :param options: with which it works here.
    :param received: the bodies that its receiver has got so far, in order.
    :param base: a folder; below it the sink gets its own. :param reactor: a ``Clock``, unless it needs more.
    :param secrets: what references resolve to: ``{"env:TOKEN": b"..."}``.
    :param settle: lets what is under way arrive (turn a reactor, flush a pipe); called before each look.
    :param broken: gives a context in which the receiver is out of order: ``deliver`` must fail there, and what it
        was handed must arrive when it comes again.
    """
    check = _Check(plugin, options, received, base, reactor or Clock(), secrets or {}, settle)
    check.plugin_is_whole()
    check.stops_without_a_start()
    check.delivers_in_order()
    check.takes_hostile_text_as_one_event_each()
    check.survives_reopening()
    check.goes_on_in_another_life()
    if broken is not None:
        check.fails_while_its_receiver_does(broken)
    check.keeps_its_secrets()
    check.over()


class _Check:
    def __init__(
        self,
        plugin: Any,
        options: Mapping[str, object],
        received: Callable[[], Sequence[bytes]],
        base: Path,
        reactor: Any,
        secrets: Mapping[str, bytes],
        settle: Callable[[], object],
    ) -> None:
        self.plugin, self.options, self.received, self.settle = plugin, options, received, settle
        self.base, self.reactor, self.secrets = base, reactor, secrets
        self.number = 1
        self.sink: Any = None

    # -- help

    def make(self) -> Any:
        async def secret(reference: str) -> bytes:
            if reference not in self.secrets:
                raise SecretUnavailable(f"{reference}: the test has no such secret")
            return self.secrets[reference]

        folder = self.base / "sink"
        folder.mkdir(mode=0o700, exist_ok=True)
        context = SinkContext(
            name="tested", folder=folder, base=self.base, node="gw1", reactor=self.reactor, secret=secret
        )
        made = self.plugin.make(self.options, context)
        verifyObject(IAuditSink, made)
        return made

    def outcome(self, what: str, function: Callable[..., Any], *arguments: Any) -> object:
        """What came of a call: ``None``, or a ``Failure``."""
        try:
            result = function(*arguments)
        except Exception:
            return Failure()
        if result is None:
            return None
        results: list[object] = []
        waiting: Deferred[Any] = result if isinstance(result, Deferred) else ensureDeferred(result)
        waiting.addBoth(results.append)
        self.settle()
        assert results, f"{what} did not come back; does settle() do what it waits for?"
        assert results[0] is None or isinstance(results[0], Failure), f"{what} gave {results[0]!r}, not None"
        return results[0]

    def fine(self, what: str, function: Callable[..., Any], *arguments: Any) -> None:
        outcome = self.outcome(what, function, *arguments)
        if isinstance(outcome, Failure):
            raise AssertionError(f"{what} failed: {outcome.getErrorMessage()}") from outcome.value

    def next(self, count: int, text: str = "SELECT 1") -> list[Delivery]:
        made = deliveries(self.number, count, text)
        self.number += count
        return made

    def started(self) -> Any:
        if self.sink is None:
            self.sink = self.make()
            self.fine("start", self.sink.start)
        return self.sink

    def arrives(self, batch: Sequence[Delivery], what: str) -> None:
        """The batch, accepted, is what came last, whole and in order."""
        before = list(self.received())
        self.fine(f"deliver ({what})", self.started().deliver, batch)
        self.settle()
        came = list(self.received())[len(before) :]
        wanted = [each.body for each in batch]
        assert came == wanted, (
            f"{what}: {len(came)} bodies came for {len(wanted)}, or not these, or not in this order"
        )

    # -- promises

    def plugin_is_whole(self) -> None:
        """It provides the interface, and tells good options from bad ones."""
        plugin = self.plugin
        verifyObject(ISinkPlugin, plugin)
        assert isinstance(plugin.name, str), "name is what the configuration says"
        assert plugin.name, "name is empty"
        assert plugin.acknowledges in ("record", "segment", "none"), "acknowledges is record, segment or none"
        assert isinstance(plugin.default_format, str), "default_format names a format"
        said = list(plugin.problems(self.options, self.base))
        assert said == [], f"it has problems with the options of its own test: {said}"
        more = list(plugin.problems({**self.options, "no_such_option": 1}, self.base))
        assert more, "an option that it doesn't know is passed over in silence"
        assert all(isinstance(each, str) and each for each in more), "a problem is a sentence"

    def stops_without_a_start(self) -> None:
        """``stop`` is called after a failed start, too."""
        self.fine("stop before start", self.make().stop)

    def delivers_in_order(self) -> None:
        """One event, many, none, and the same again."""
        self.arrives(self.next(1), "one event")
        self.arrives(self.next(50), "fifty events")
        self.fine("deliver (nothing)", self.started().deliver, [])
        again = self.next(2)
        self.arrives(again, "two events")
        before = list(self.received())
        self.fine("deliver (the same again)", self.started().deliver, again)
        self.settle()
        came = list(self.received())[len(before) :]
        assert came in ([], [each.body for each in again]), "a repetition arrives whole, or is dropped whole"

    def takes_hostile_text_as_one_event_each(self) -> None:
        """No text of a client begins a new event, and none is too long to go."""
        for text in _HOSTILE:
            self.arrives(self.next(1, text), f"a text that begins with {text[:12]!r}")
        self.arrives([each for text in _HOSTILE for each in self.next(1, text)], "all of them in one batch")

    def survives_reopening(self) -> None:
        """logrotate and SIGHUP."""
        sink = self.started()
        assert sink.reopen() is None, "reopen gives nothing back"
        self.arrives(self.next(2), "after reopen")

    def goes_on_in_another_life(self) -> None:
        """Stopped and made anew, as after a restart or a time-out."""
        self.fine("stop", self.started().stop)
        self.sink = None
        self.arrives(self.next(2), "after a restart")

    def fails_while_its_receiver_does(self, broken: Callable[[], AbstractContextManager[object]]) -> None:
        """What a receiver didn't get must not count as delivered."""
        sink, batch = self.started(), self.next(3)
        with broken():
            outcome = self.outcome("deliver (receiver out of order)", sink.deliver, batch)
            assert isinstance(outcome, Failure), "deliver did not fail while its receiver was out of order"
            self.has_no_secret(outcome.getErrorMessage())
        before = set(self.received())
        self.fine("deliver (again)", sink.deliver, batch)
        self.settle()
        missing = [each.body for each in batch if each.body not in {*before, *self.received()}]
        assert not missing, "what failed did not arrive when it came again"

    def keeps_its_secrets(self) -> None:
        """A repr ends in a log."""
        self.has_no_secret(repr(self.started()))
        self.has_no_secret(repr(vars(self.started())) if hasattr(self.started(), "__dict__") else "")

    def has_no_secret(self, text: str) -> None:
        for reference, value in self.secrets.items():
            assert value.decode("latin-1") not in text, f"{reference} can be read in {text[:60]!r}"

    def over(self) -> None:
        self.fine("stop", self.started().stop)
