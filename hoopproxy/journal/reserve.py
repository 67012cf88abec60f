"""Space set aside while there is some, so that what must be said on a full disk can be."""

from __future__ import annotations

from hoopproxy.journal.folder import Folder
from hoopproxy.journal.inbox import Trouble

__all__ = ["Reserve"]


class Reserve:
    """The reserve file of a journal: all of ``size`` bytes, or not there. Methods raise ``OSError``, but for
    :meth:`give_up`."""

    def __init__(self, folder: Folder, size: int) -> None:
        self._folder, self._files, self._size = folder, folder.files, size
        self.is_held = self._is_there()

    def _is_there(self) -> bool:
        """Whether the previous writer left it, whole."""
        if not self._size or not self._files.exists(self._folder.reserve):
            return False
        handle = self._files.open_read(self._folder.reserve)
        try:
            return self._files.size(handle) >= self._size
        finally:
            self._files.close(handle)

    def hold(self) -> None:
        """Have the bytes set aside, if they aren't."""
        if self.is_held or not self._size:
            return
        files, path = self._files, self._folder.reserve
        handle = files.open(path, create=not files.exists(path))
        try:
            files.preallocate(handle, self._size)
            files.fsync(handle)
        except OSError:
            files.unlink(path)
            raise
        finally:
            files.close(handle)
        self.is_held = True

    def give_up(self) -> bool:
        """Give the bytes back to the disk; false if there were none to give, or it doesn't take them. Never raises."""
        if not self.is_held:
            return False
        try:
            self._files.unlink(self._folder.reserve)
            self._files.fsync_dir(self._folder.path)
        except OSError:
            return False
        self.is_held = False
        return True

    def judge(self, refusal: Trouble | None) -> tuple[Trouble | None, Trouble | None]:
        """Why commands, and why new sessions, are refused, by the space that there is; what of it can be is set aside.

        :param refusal: why commands are refused until now.
        """
        files, path, size = self._files, self._folder.path, self._size
        if files.free_bytes(path) >= 2 * size:
            self.hold()
        free = files.free_bytes(path)
        low: Trouble | None = None
        if free < size:
            low = Trouble("full", f"the journal's disk has {free >> 20} MiB left; new sessions are refused")
        if free < size // 4:
            sentence = "the journal's disk is nearly full; commands are refused until there is space"
            return Trouble("full", sentence), low
        if refusal is not None and (self.is_held or not size or refusal.code == "io"):
            return None, low
        return refusal, low
