"""A small file system to fill: ext4 in a file, loop-mounted (root only)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs

from .need import command, require
from .processes import until

__all__ = ["SmallDisk", "small_disk"]


_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_NO_LOG_FLUSH = struct.pack("I", 2)
_FREEZE, _THAW = 0xC0045877, 0xC0045878  # FIFREEZE, FITHAW


@attrs.frozen
class SmallDisk:
    """A mounted file system of a few MiB."""

    path: Path
    image: Path

    @property
    def free(self) -> int:
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def fill(self, *, leave: int = 0) -> None:
        """Use up what is free but ``leave`` bytes."""
        with (self.path / "filler").open("ab") as filler:
            for size in (1 << 20, 1 << 16, 4096):
                try:
                    while self.free > leave + size:
                        filler.write(b"\0" * size)
                        filler.flush()
                except OSError:
                    continue

    def _tell(self, request: int, argument: bytes) -> None:
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, request, argument)
        finally:
            os.close(handle)

    def cut_power(self) -> None:
        """From now on nothing reaches the device any more: what only the page cache has is lost, as at a
        power cut. Every further write and sync fails. Nothing is written back first (ext4's "shutdown")."""
        self._tell(_SHUTDOWN, _NO_LOG_FLUSH)

    def power_on(self) -> None:
        """Mount again what the device has. Whoever has a file open there is given some seconds to end: the
        process that reads the trail outlives a killed gateway by a moment."""
        until(self._unmounted, seconds=30, what=f"{self.path} can be unmounted", step=0.1)
        _mount(self.image, self.path)

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", str(self.path)], check=False, capture_output=True).returncode == 0

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Writes and syncs hang for as long as this lasts."""
        self._tell(_FREEZE, bytes(4))
        try:
            yield
        finally:
            self._tell(_THAW, bytes(4))

    def relieve(self) -> None:
        """Give the space back."""
        (self.path / "filler").unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int = 48) -> Iterator[SmallDisk]:
    """Make, mount and at last unmount it. Skips, and says so, where that isn't possible."""
    if os.getuid() != 0:
        require("loop mount", "mounting a small file system needs root")
    mkfs = command("mkfs.ext4", name="loop mount", package="e2fsprogs")
    image, mount = folder / "small.img", folder / "small"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run([mkfs, "-q", "-m", "0", str(image)], check=True, capture_output=True)
    _mount(image, mount)
    try:
        yield SmallDisk(mount, image)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True)
        image.unlink(missing_ok=True)


def _mount(image: Path, mount: Path) -> None:
    """``commit=300``: nothing gets to the device by itself while a test lasts, only what is synced."""
    done = subprocess.run(
        [shutil.which("mount") or "mount", "-o", "loop,commit=300", str(image), str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        require("loop mount", f"`mount -o loop`: {done.stderr.strip()}")
