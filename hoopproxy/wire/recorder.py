"""The recorder: one voice in the journal. It binds who and where once, and numbers what is said.

The part of the envelope that belongs to the session is rendered when it changes, as bytes; an event adds a
handful of fields to it. Key order is fixed here to be sorted order, so the whole is RFC 8785 canonical JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from hoopproxy.events import (
    ClientFacts,
    Decision,
    Event,
    Identity,
    TargetFacts,
    canonical,
)
from hoopproxy.wire.envelope import Envelope
from hoopproxy.wire.filling import fill
from hoopproxy.wire.forms import (
    CLOSES,
    MOST,
    OFTEN,
    OPENS,
    PLAIN,
    STARTS,
    Form,
    forms_of,
    new_form,
    outcome_and_parent,
    said,
)
from hoopproxy.wire.frames import Span
from hoopproxy.wire.ids import Clock, IdSource

__all__ = [
    "CLIENT",
    "TARGET",
    "TO_CLIENT",
    "TO_TARGET",
    "Appending",
    "Clock",
    "IdSource",
    "Journal",
    "Recorder",
]

CLIENT, TARGET = 0, 1
"""Legs, as chunks number them."""

TO_TARGET, TO_CLIENT = 0, 1
"""Directions, as chunks number them."""


class Appending(Protocol):
    """What whoever only appends events needs of :class:`hoopproxy.interfaces.IJournal`."""

    id: str
    next_jseq: int

    def append_event(
        self,
        body: bytes,
        key_id: int,
        reserve: bool = False,
        droppable: bool = False,
        opens: bytes | None = None,
        closes: bytes | None = None,
    ) -> int: ...


class Journal(Appending, Protocol):
    """What a recorder needs of :class:`hoopproxy.interfaces.IJournal`."""

    def append_chunk(
        self,
        key_id: int,
        session: bytes,
        leg: int,
        direction: int,
        offset: int,
        mono_ns: int,
        data: bytes,
        redactions: Sequence[tuple[int, int, int]] = (),
        reserve: bool = False,
        droppable: bool = False,
    ) -> int: ...

    def open_key(self, session: bytes) -> int: ...


class Recorder:
    """Events and chunks of one session (or of the gateway itself), in order, into a journal.

    Until :meth:`open` is called what is recorded waits here: strangers can't fill the journal, and the
    exchange of a log-in that fails leaves no chunk. ``tick`` reads the clocks once for everything that one
    turn of the reactor records.
    """

    __slots__ = (
        "_client",
        "_decoder",
        "_early",
        "_forms",
        "_id_prefix",
        "_identity",
        "_micros",
        "_node",
        "_protocol",
        "_second_text",
        "_target",
        "_tenant",
        "droppable",
        "envelope",
        "ids",
        "journal",
        "key_id",
        "last_jseq",
        "mono_ns",
        "now",
        "opened",
        "seq",
        "session",
        "session16",
        "stamp",
        "started",
    )

    def __init__(
        self,
        journal: Journal,
        ids: IdSource,
        clock: Clock,
        *,
        node: str,
        session: bytes | None = None,
        session_text: str = "",
        protocol: str = "gateway",
        decoder: str = "",
        tenant: str | None = None,
    ) -> None:
        self.journal, self.ids = journal, ids
        self.session16, self.session = session or bytes(16), session_text
        self.started = clock.mono_ns()
        self.now = 0
        """Monotonic nanoseconds since the session began, as of the last tick."""
        self.mono_ns = clock.mono_ns
        self.stamp = ids.stamp(clock)
        self._micros, self._second_text, self._id_prefix = 0, b"", b""
        self.seq = 0
        self.last_jseq = 0
        """The number of the last record that this recorder made."""
        self.key_id = 0
        self.opened = False
        self.droppable = False
        """(``best-effort``) What the journal can't take is counted in a gap record instead of refused."""
        self._early: list[tuple[object, ...]] | None = []
        self._identity: Identity | None = None
        self._target: TargetFacts | None = None
        self._client: ClientFacts | None = None
        self._node, self._protocol = _constant(node), _constant(protocol)
        named = b'{"name":%b,"version":%b}' % (self._protocol, _constant(decoder)) if decoder else b""
        self._decoder = _shared(named)
        self._tenant = _constant(tenant) if tenant else b""
        self._render_session()
        self.tick()

    def bind(
        self,
        *,
        identity: Identity | None = None,
        target: TargetFacts | None = None,
        client: ClientFacts | None = None,
    ) -> None:
        """Fix who, where to, where from. An identity is bound once.

        :raises ValueError: on a second, different identity.
        """
        if identity is not None and self._identity is not None and identity != self._identity:
            raise ValueError("the identity of a session never changes")
        self._identity = identity or self._identity
        self._target = target or self._target
        self._client = client or self._client
        self._render_session()

    def _render_session(self) -> None:
        head = b"{"
        if self._client is not None:
            head += b'"client":' + canonical(self._client) + b","
        decoder = b'"decoder":' + self._decoder + b"," if self._decoder else b""
        identity = b'"identity":' + canonical(self._identity) + b"," if self._identity else b""
        tail = b',"session":' + canonical(self.session) if self.session else b""
        tail += b',"target":' + canonical(self._target) if self._target else b""
        tail += b',"tenant":' + self._tenant if self._tenant else b""
        self.envelope = Envelope(
            head=head,
            before_event=_shared(decoder + b'"event":'),
            after_id=_shared(b'",' + identity + b'"journal":' + canonical(self.journal.id) + b',"jseq":'),
            after_mono=_shared(b',"node":' + self._node),
            before_seq=_shared(b',"protocol":' + self._protocol),
            after_seq=tail + b',"time":"',
            started=self.started,
            session=self.session16,
        )
        envelope = self.envelope
        self._forms = forms_of(envelope.before_event, envelope.after_mono, envelope.before_seq)

    def open(self) -> None:
        """Begin to write. Of the recording nothing yet: what of it is kept is the target's to say (:meth:`settle`)."""
        if self.opened:
            return
        self.opened = True
        if self.session:
            self.key_id = self.journal.open_key(self.session16)

    def settle(self, *, requests: bool = True, responses: bool = True) -> None:
        """It is known what is recorded: put what waited for that into the journal, in order, or forget it.

        :raises JournalRefused: the journal can't take it; the rest of it is lost.
        """
        early, self._early = self._early, None
        for entry in early or ():
            if responses if entry[1] == TO_CLIENT else requests:
                self._append_chunk(*entry)  # type: ignore[arg-type]

    def drop(self) -> None:
        """Forget what waited: nobody logged in."""
        self._early = None

    def rest(self) -> None:
        """Let go of what is rendered again when it is needed. The next record must come after a :meth:`tick`."""
        self._second_text = self._id_prefix = b""

    def tick(self) -> None:
        """Read the clock; what is recorded until the next tick carries this time."""
        now, stamp = self.mono_ns(), self.stamp
        if now >= stamp.until:
            stamp.look(now)
        self.now = now - self.started
        self._micros = (now - stamp.second_at) // 1000
        self._second_text, self._id_prefix = stamp.second, stamp.prefix

    def new_id(self) -> bytes:
        """An id for a record or an operation."""
        ids = self.ids
        ids.counter = counter = ids.counter + 1
        return b"%b%012x" % (self._id_prefix, counter)

    def decision(self, effect: str, rules: tuple[str, ...], approval: str | None = None) -> bytes:
        """A decision as :meth:`emit` wants it; rendered once for each that differs."""
        return _decision(effect, rules, approval)

    def form(
        self, kind: bytes, decision: bytes = b"", more: bytes = b"", reason: bytes = b"", joined: bool = True
    ) -> Form:
        """A kind's envelope, with everything in it that doesn't change from one such event to the next, but for what
        the session itself adds: sessions share it.

        :param more: ``,"outcome":...`` and ``,"parent":...``, in this order. :param reason: ``,"reason":...``.
        :param joined: whether such an event belongs to an operation.
        """
        key = (kind, decision, more, reason, joined)
        form = self._forms.get(key)
        if form is None:
            form = new_form(self.envelope, *key)
            if kind in OFTEN and not reason and b'"parent"' not in more:
                if len(self._forms) >= MOST:
                    self._forms.clear()
                self._forms[key] = form
        return form

    def put(self, form: Form, body: bytes, op: bytes = b"", id: bytes = b"", reserve: bool = False) -> int:
        """Record one event, its own fields rendered already; return its jseq. :meth:`event` is the friendly one.

        :param op: the operation that it belongs to, if its form is joined. :param id: its id, else a new one.
        :raises JournalRefused: when the journal can't take it.
        """
        self.put_all(((form, body, op, id),), reserve)
        return self.last_jseq

    def put_all(self, said: Sequence[tuple[Form, bytes, bytes, bytes]], reserve: bool = False) -> None:
        """:meth:`put` for each of several events; :attr:`seq` tells how many were recorded when it raises."""
        if not self.opened:
            self.open()
        journal, ids, key_id, droppable = self.journal, self.ids, self.key_id, self.droppable
        now, second, micros, prefix = self.now, self._second_text, self._micros, self._id_prefix
        head, _, after_id, _, _, after_seq, _, _ = self.envelope
        append = journal.append_event
        for (template, meaning, joined), body, op, own_id in said:
            id = own_id
            if not id:
                ids.counter = counter = ids.counter + 1
                id = b"%b%012x" % (prefix, counter)
            seq = self.seq + 1
            if joined:
                line = template % (
                    head, body, id, after_id, journal.next_jseq, now, op, seq, after_seq, second, micros,
                )  # fmt: skip
            else:
                line = template % (
                    head, body, id, after_id, journal.next_jseq, now, seq, after_seq, second, micros,
                )  # fmt: skip
            if meaning == PLAIN:
                self.last_jseq = append(line, key_id, reserve, droppable)
            elif meaning == OPENS:
                self.last_jseq = append(line, key_id, reserve, droppable, op)
            elif meaning == CLOSES:
                self.last_jseq = append(line, key_id, reserve, droppable, None, op)
            elif meaning == STARTS:
                self.last_jseq = append(line, key_id, reserve, droppable, self.session16)
            else:
                self.last_jseq = append(line, key_id, reserve, droppable, None, self.session16)
            self.seq = seq  # only now: what was not taken was not said, and leaves no gap

    def emit(
        self,
        kind: bytes,
        body: bytes,
        op: bytes = b"",
        decision: bytes = b"",
        more: bytes = b"",
        reason: bytes = b"",
        id: bytes = b"",
        reserve: bool = False,
    ) -> int:
        """:meth:`form` and :meth:`put` in one."""
        return self.put(self.form(kind, decision, more, reason, bool(op)), body, op, id, reserve)

    def event(
        self,
        event: Event,
        *,
        op: str | None = None,
        parent: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        decision: Decision | None = None,
        reserve: bool = False,
    ) -> int:
        """Record an event of the catalogue; return its jseq. :raises JournalRefused: as :meth:`emit`."""
        decided = self.decision(decision.effect, decision.rules, decision.approval) if decision else b""
        return self.emit(
            event.kind.encode(),
            event.body(),
            op.encode() if op else b"",
            decided,
            outcome_and_parent(outcome, parent),
            said(reason),
            b"",
            reserve,
        )

    def chunk(
        self,
        leg: int,
        direction: int,
        offset: int,
        data: bytes,
        spans: Sequence[Span] = (),
        reserve: bool = False,
    ) -> None:
        """Record bytes of a leg's stream from ``offset``. ``spans`` are secrets, in the stream's offsets.

        :param reserve: use the space kept for endings.
        :raises JournalRefused: when the journal can't take it.
        """
        ranges: Sequence[tuple[int, int, int]] = ()
        if spans:
            data, ranges = fill(data, offset, spans)
        if self._early is not None:
            self._early.append((leg, direction, offset, self.now, data, ranges))
        elif not self.opened:
            return
        elif self.droppable:
            self.last_jseq = self.journal.append_chunk(
                self.key_id, self.session16, leg, direction, offset, self.now, data, ranges, False, True
            )
        else:
            self.last_jseq = self.journal.append_chunk(
                self.key_id, self.session16, leg, direction, offset, self.now, data, ranges, reserve
            )

    def _append_chunk(
        self,
        leg: int,
        direction: int,
        offset: int,
        now: int,
        data: bytes,
        ranges: Sequence[tuple[int, int, int]],
    ) -> None:
        self.last_jseq = self.journal.append_chunk(
            self.key_id, self.session16, leg, direction, offset, now, data, ranges
        )


@lru_cache(maxsize=64)
def _constant(text: str) -> bytes:
    """Canonical JSON of a text that sessions share, in a copy of its own size: the renderer's buffers are larger."""
    return bytes(memoryview(canonical(text)))


@lru_cache(maxsize=1024)
def _decision(effect: str, rules: tuple[str, ...], approval: str | None) -> bytes:
    return b'"decision":' + canonical(Decision(effect, rules, approval)) + b","


@lru_cache(maxsize=1024)
def _shared(text: bytes) -> bytes:
    """One object for all sessions that say the same: of a thousand idle ones, most came in as the same few people."""
    return text
