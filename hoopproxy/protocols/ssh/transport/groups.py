"""The primes of the fixed Diffie-Hellman groups: RFC 3526, made by its own formula from the digits of pi."""

from __future__ import annotations

from functools import cache
from typing import Final

__all__ = ["FIXED_GROUPS", "GENERATOR", "prime"]

GENERATOR: Final = 2
FIXED_GROUPS: Final = {
    "diffie-hellman-group14-sha256": (2048, 124_476),
    "diffie-hellman-group16-sha512": (4096, 240_904),
    "diffie-hellman-group18-sha512": (8192, 4_743_158),
}
"""Key exchange -> bits of the prime, and the number that RFC 3526 adds."""


@cache
def prime(bits: int, added: int) -> int:
    """2^bits - 2^(bits-64) - 1 + 2^64 * ([2^(bits-130) pi] + added)."""
    return (1 << bits) - (1 << (bits - 64)) - 1 + ((_pi(bits - 130) + added) << 64)


def _pi(bits: int) -> int:
    """The integer part of 2^bits times pi: Machin's formula, with bits to spare."""
    spare = 64
    one = 1 << (bits + spare)
    return (4 * (4 * _arctan_inverse(5, one) - _arctan_inverse(239, one))) >> spare


def _arctan_inverse(number: int, one: int) -> int:
    term = total = one // number
    square, odd, sign = number * number, 1, -1
    while term:
        term //= square
        odd += 2
        total += sign * (term // odd)
        sign = -sign
    return total
