"""A small file system to fill: ext4 in a file, loop-mounted (root only)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs

from .need import command, require

__all__ = ["SmallDisk", "small_disk"]


@attrs.frozen
class SmallDisk:
    """A mounted file system of a few MiB."""

    path: Path

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
    done = subprocess.run(
        [shutil.which("mount") or "mount", "-o", "loop", str(image), str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        require("loop mount", f"`mount -o loop`: {done.stderr.strip()}")
    try:
        yield SmallDisk(mount)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True)
        image.unlink(missing_ok=True)
