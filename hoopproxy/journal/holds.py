"""Legal holds: what must neither expire nor be erased, however old it is. One small file of the state directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import orjson

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.files import Files, RealFiles
from hoopproxy.journal.whose import Whose

__all__ = ["KINDS", "Hold", "Holds"]

KINDS: Final = ("session", "identity", "target")
_FILE: Final = "holds"
_MAX: Final = 16 << 20


@attrs.frozen(kw_only=True)
class Hold:
    """One hold. ``since`` is RFC 3339 text, ``by`` an identity, ``reason`` what an auditor will want to read."""

    kind: str
    value: str
    reason: str
    by: str
    since: str

    def covers(self, whose: Whose) -> bool:
        """Whether a record of that owner is held. What isn't known is held: a wrong guess can't be undone."""
        found = getattr(whose, self.kind)
        return found is None or found == self.value


class Holds:
    """The holds in force. Raises ``OSError``."""

    def __init__(self, state: Path, files: Files | None = None) -> None:
        """Read the file, if there is one. :raises Damaged: it holds something else: then nothing may expire."""
        self._path, self._files = state / _FILE, files or RealFiles()
        self._held: dict[tuple[str, str], Hold] = {}
        if not self._files.exists(self._path):
            return
        handle = self._files.open_read(self._path)
        try:
            data = self._files.pread(handle, _MAX, 0)
        finally:
            self._files.close(handle)
        try:
            for values in orjson.loads(data)["holds"]:
                hold = Hold(**values)
                if hold.kind not in KINDS:
                    raise ValueError
                self._held[hold.kind, hold.value] = hold
        except (ValueError, KeyError, TypeError):
            raise Damaged(str(self._path), 0, "a list of holds was expected") from None

    def __iter__(self) -> Iterator[Hold]:
        return iter(self._held.values())

    def covers(self, whose: Whose) -> bool:
        """Whether any hold is on a record of that owner."""
        return any(hold.covers(whose) for hold in self._held.values())

    def add(self, hold: Hold) -> None:
        """Put it in force, durably. :raises HoopproxyError: it is in force already, or of no known kind."""
        if hold.kind not in KINDS:
            raise HoopproxyError(f"a hold is on one of {', '.join(KINDS)}")
        if (hold.kind, hold.value) in self._held:
            raise HoopproxyError(f"there is a hold on {hold.kind} {hold.value} already")
        self._held[hold.kind, hold.value] = hold
        self._write()

    def remove(self, kind: str, value: str) -> Hold:
        """Lift it, durably. :raises HoopproxyError: there is none."""
        hold = self._held.pop((kind, value), None)
        if hold is None:
            raise HoopproxyError(f"there is no hold on {kind} {value}")
        self._write()
        return hold

    def _write(self) -> None:
        files, fresh = self._files, self._path.with_name(_FILE + ".new")
        body = {"holds": [attrs.asdict(hold) for hold in self._held.values()]}
        files.unlink(fresh)
        handle = files.open(fresh, create=True)
        try:
            files.pwrite(handle, [orjson.dumps(body, option=orjson.OPT_INDENT_2)], 0)
            files.fsync(handle)
        finally:
            files.close(handle)
        files.rename(fresh, self._path)
        files.fsync_dir(self._path.parent)
