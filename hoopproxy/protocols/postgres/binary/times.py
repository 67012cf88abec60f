"""Dates, times and intervals: binary format to PostgreSQL's text (ISO, IntervalStyle postgres, UTC)."""

from __future__ import annotations

from datetime import date as calendar
from typing import Final

from hoopproxy.protocols.postgres.binary.cursor import Cursor, Malformed

__all__ = ["date", "interval", "time", "timestamp", "timestamptz", "timetz"]

_EPOCH: Final = calendar(2000, 1, 1).toordinal()
_CYCLE: Final = 146_097
"""Days of 400 years, after which the calendar repeats."""
_DAY: Final = 86_400_000_000
"""Microseconds."""
_MAX32: Final = 2**31 - 1
_MAX64: Final = 2**63 - 1


def date(cursor: Cursor) -> str:
    days = cursor.one("i")
    if days in (_MAX32, -_MAX32 - 1):
        return "infinity" if days > 0 else "-infinity"
    shown, era = _day(days)
    return shown + era


def _day(days: int) -> tuple[str, str]:
    """The day that is `days` after 2000-01-01, and `` BC`` if it is."""
    cycles, ordinal = divmod(days + _EPOCH - 1, _CYCLE)
    day = calendar.fromordinal(ordinal + 1)
    year = day.year + 400 * cycles
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04d}-{day.month:02d}-{day.day:02d}", era


def _clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    shown = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{shown}.{fraction:06d}".rstrip("0") if fraction else shown


def time(cursor: Cursor) -> str:
    micros = cursor.one("q")
    if not 0 <= micros <= _DAY:
        raise Malformed("time")
    return _clock(micros)


def timetz(cursor: Cursor) -> str:
    shown, west = time(cursor), cursor.one("i")
    if abs(west) >= 86_400:
        raise Malformed("zone")
    hours, rest = divmod(abs(west), 3600)
    zone = f"{'-' if west > 0 else '+'}{hours:02d}"
    if rest:
        zone += f":{rest // 60:02d}" + (f":{rest % 60:02d}" if rest % 60 else "")
    return shown + zone


def timestamp(cursor: Cursor) -> str:
    return _moment(cursor, "")


def timestamptz(cursor: Cursor) -> str:
    return _moment(cursor, "+00")


def _moment(cursor: Cursor, zone: str) -> str:
    micros = cursor.one("q")
    if micros in (_MAX64, -_MAX64 - 1):
        return "infinity" if micros > 0 else "-infinity"
    days, clock = divmod(micros, _DAY)
    shown, era = _day(days)
    return f"{shown} {_clock(clock)}{zone}{era}"


def interval(cursor: Cursor) -> str:
    micros, days, months = cursor.read("qii")
    if (micros, days, months) in ((_MAX64, _MAX32, _MAX32), (-_MAX64 - 1, -_MAX32 - 1, -_MAX32 - 1)):
        return "infinity" if days > 0 else "-infinity"
    years, rest = divmod(abs(months), 12)
    sign = -1 if months < 0 else 1
    parts: list[str] = []
    negative = False
    for value, unit in ((sign * years, "year"), (sign * rest, "mon"), (days, "day")):
        if value:
            plus = "+" if negative and value > 0 else ""
            parts.append(f"{plus}{value} {unit}{'' if value == 1 else 's'}")
            negative = value < 0
    if micros or not parts:
        plus = "-" if micros < 0 else "+" if negative else ""
        parts.append(plus + _clock(abs(micros)))
    return " ".join(parts)
