"""What the data path and a process beside it say to each other about a :class:`~hoopproxy.wire.commands.Compute`.

There: two lengths of four bytes, then so many bytes of MessagePack (``[module, function, options]``), then the data.
Back: a length of four bytes, then the answer as MessagePack.
"""

from __future__ import annotations

import struct
from importlib import import_module
from typing import Any, Final

import msgspec

from hoopproxy.wire.commands import Compute

__all__ = ["ASKED", "SIZE", "asked", "decoded", "perform", "performed"]

ASKED: Final = struct.Struct(">II")
SIZE: Final = struct.Struct(">I")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def asked(question: Compute) -> bytes:
    """What goes there before the data."""
    function = question.function
    head = _encode((function.__module__, function.__qualname__, question.options))
    return ASKED.pack(len(head), len(question.data)) + head


def perform(head: bytes, data: bytes) -> bytes:
    """Do what is asked for: there. The answer, without its length."""
    module, name, options = _decode(head)
    return _encode(getattr(import_module(module), name)(data, **options))


def decoded(answer: bytes) -> Any:
    """What the function returned."""
    return _decode(answer)


def performed(question: Compute) -> Any:
    """The answer, worked out here and now."""
    return decoded(perform(asked(question)[ASKED.size :], bytes(question.data)))
