"""Watchers that decide, for the tests of what stands around one: small languages with rules that can be said."""

from __future__ import annotations

from collections.abc import Iterator

from hoopproxy.protocols.ssh.watch import Answer, Ask, Gate, Pass, Step
from hoopproxy.wire.commands import Decide, Refusal, Verdict

__all__ = ["Letters", "Wordy", "no_x"]


class Letters(Gate):
    """Each capital letter is asked about; a digit is kept until the next byte; the refused are answered.

    :param answer: in the place of each that was refused.
    """

    __slots__ = ("answer", "kept", "verdict")

    def __init__(self, answer: bytes = b"!") -> None:
        super().__init__("op", 0)
        self.answer, self.kept = answer, b""
        self.verdict: Verdict | None = None

    @property
    def held(self) -> int:
        return len(self.kept)

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        data, self.kept = self.kept + data, b""
        for place in range(len(data)):
            each = data[place : place + 1]
            if each.isdigit() and place == len(data) - 1:
                self.kept = each
            elif each.isupper():
                yield Ask(Decide(("LETTER", each.decode()), 1, {"verb": "LETTER"}, is_command=False))
                assert self.verdict is not None
                yield Pass(each) if self.verdict.allowed else Answer(self.answer)
            else:
                yield Pass(each)

    def decided(self, verdict: Verdict) -> None:
        self.verdict = verdict


class Wordy(Gate):
    """Lets nothing pass, and answers each byte of the client with so many of its own."""

    __slots__ = ("words",)

    def __init__(self, words: int) -> None:
        super().__init__("op", 0)
        self.words = words

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        for _ in data:
            yield Answer(b"!" * self.words)


def no_x(decide: Decide) -> Verdict | None:
    """The policy that the letter ``X`` may not be said."""
    refused = decide.verbs == ("LETTER", "X")
    return Verdict(not refused, ("r",), Refusal("policy", "no X") if refused else None)
