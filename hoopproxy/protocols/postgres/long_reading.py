"""What the client sends that is long: asked for to be read beside the data path, and met with what that found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.long_texts import (
    ReadParse,
    ReadText,
    Values,
    read_statement,
    read_text,
    read_values,
    text_options,
    text_read,
    values_options,
    values_read,
)
from hoopproxy.protocols.postgres.prepared import Prepared
from hoopproxy.protocols.postgres.requests import Bind, FunctionCall, Parse
from hoopproxy.protocols.postgres.undecided import Undecided
from hoopproxy.wire.commands import Command, Compute, Refusal
from hoopproxy.wire.frames import Frame

__all__ = ["LongReading"]


class LongReading(Undecided):
    """Long texts and parameters."""

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

    def _answer(self, frame: Frame, question: Compute) -> Mapping[str, Any] | Sequence[Command]:
        """What was found out about this frame; or what is to be done instead: to ask, to refuse.

        :raises ProtocolViolation: it is no such message.
        """
        answer = self._aside(frame, question)
        if isinstance(answer, Compute):
            return (answer,)
        if isinstance(answer, Refusal):
            return self._unreadable(frame, answer)
        found: Mapping[str, Any] = answer  # type: ignore[assignment]
        if "illegal" in found:
            raise ProtocolViolation(found["illegal"])
        return found

    def _read_query(self, frame: Frame, sql: memoryview, under_way: bool) -> ReadText | Sequence[Command]:
        """A long Query."""
        found = self._answer(frame, Compute(read_text, sql, text_options(self._reader, under_way)))
        return text_read(found, self._reader) if isinstance(found, Mapping) else found

    def _read_parse(self, frame: Frame, under_way: bool) -> ReadParse | Sequence[Command]:
        """A long Parse."""
        body = frame.body
        assert body is not None
        found = self._answer(frame, Compute(read_statement, body, text_options(self._reader, under_way)))
        if not isinstance(found, Mapping):
            return found
        start, end = found["at"]
        message = Parse(found["name"], memoryview(body)[start:end], tuple(found["types"]))
        return ReadParse(message, text_read(found, self._reader))

    def _read_values(
        self, frame: Frame, message: Bind | FunctionCall, statement: Prepared
    ) -> Values | Sequence[Command]:
        """The parameters of a long Bind or FunctionCall."""
        options = values_options(
            statement.secret, statement.types, self._reader.encoding, isinstance(message, FunctionCall)
        )
        assert frame.body is not None
        found = self._answer(frame, Compute(read_values, frame.body, options))
        return values_read(found, message.values) if isinstance(found, Mapping) else found
