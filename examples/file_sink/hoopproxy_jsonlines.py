"""A whole sink for hoopproxy in one file: appends every event to a file, one line of JSON each.

``deliver`` returns after ``fdatasync``, so what it accepted survives a power cut. If it fails half-way the same
batch comes again: a line can be there twice, with the same ``id``, and is never missing. A half-written line
that a crash left is cut off at the next start.
"""

import os

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.interfaces import IAuditSink, ISinkPlugin


@implementer(IPlugin, ISinkPlugin)
class JsonLines:
    """``path`` is the only option: the file, made with mode 0600 when it is not there."""

    name, version, acknowledges, default_format = "jsonlines", "1", "record", "native"

    def problems(self, options, base):
        said = [
            f"{key}: jsonlines has no such option; it has path" for key in sorted(set(options) - {"path"})
        ]
        if not isinstance(options.get("path"), str):
            said.append('path: the file\'s name is missing; say path = "out.jsonl"')
        return said

    def make(self, options, context):
        return Sink(context.base / options["path"])


@implementer(IAuditSink)
class Sink:
    """One open file."""

    def __init__(self, path):
        self.path, self.file = path, None

    def start(self):
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.ftruncate(self.file, self._whole_lines())

    def _whole_lines(self):
        """Bytes up to the end of the last whole line."""
        end = os.fstat(self.file).st_size
        while end:
            start = max(end - 65_536, 0)
            found = os.pread(self.file, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0

    def deliver(self, batch):
        before = os.fstat(self.file).st_size
        lines = memoryview(b"".join(each.body + b"\n" for each in batch))
        try:
            while lines:
                lines = lines[os.write(self.file, lines) :]
            os.fdatasync(self.file)
        except OSError:
            os.ftruncate(self.file, before)  # the whole batch comes again
            raise

    def reopen(self):
        self.stop()
        self.start()

    def stop(self):
        if self.file is not None:
            os.close(self.file)
            self.file = None
