"""Who writes to a transport, and is to stop when there is too much of it."""

from __future__ import annotations

__all__ = ["Producer"]


class Producer:
    """A producer that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")
