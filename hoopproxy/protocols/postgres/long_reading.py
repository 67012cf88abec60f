"""What the client sends that is long: asked for to be read beside the data path, and met with what that found."""

from __future__ import annotations

from collections.abc import Sequence

from hoopproxy.protocols.postgres.long_texts import (
    LONG,
    ReadText,
    Values,
    read_text,
    read_values,
    text_options,
    text_read,
    values_options,
    values_read,
)
from hoopproxy.protocols.postgres.prepared import Prepared
from hoopproxy.protocols.postgres.requests import Bind, FunctionCall
from hoopproxy.protocols.postgres.undecided import Undecided
from hoopproxy.wire.commands import Command, Compute, Refusal
from hoopproxy.wire.frames import Frame

__all__ = ["LongReading"]


class LongReading(Undecided):
    """Texts and parameters, long or short, read."""

    __slots__ = ()

    def computed(self, question: Compute, answer: object) -> None:
        """The answer; the frame that it is about is met next."""
        found = self._found
        if found is not None and found[1] is question:
            self._found = (found[0], question, answer)

    def _aside(self, frame: Frame, question: Compute) -> object:
        """The answer, if this frame's own was given already, or the question to be asked.

        Settings may have moved meanwhile, by the target's reports: then it is asked anew.
        """
        found, self._found = self._found, None
        if (
            found is not None
            and found[0] == frame.start
            and found[2] is not None
            and found[1].options == question.options
        ):
            return found[2]
        self._found = (frame.start, question, None)
        return question

    def _read(self, frame: Frame, text: bytes, under_way: bool) -> ReadText | Sequence[Command]:
        """What a text says; or what is to be done instead: to ask, to refuse."""
        reader = self._reader
        if len(text) <= LONG:
            reading = reader.read(text, under_way)
            return ReadText(reading, reader.parts_of(text, reading.verbs, under_way), None)
        answer = self._aside(frame, Compute(read_text, text, text_options(reader, under_way)))
        if isinstance(answer, Compute):
            return (answer,)
        if isinstance(answer, Refusal):
            return self._unreadable(frame, answer)
        return text_read(answer, reader)  # type: ignore[arg-type]

    def _read_values(
        self, frame: Frame, message: Bind | FunctionCall, statement: Prepared
    ) -> Values | Sequence[Command]:
        """The same for parameters."""
        options = values_options(
            statement.secret, statement.types, self._reader.encoding, isinstance(message, FunctionCall)
        )
        assert frame.body is not None
        answer = self._aside(frame, Compute(read_values, frame.body, options))
        if isinstance(answer, Compute):
            return (answer,)
        if isinstance(answer, Refusal):
            return self._unreadable(frame, answer)
        return values_read(answer, message.values)  # type: ignore[arg-type]
