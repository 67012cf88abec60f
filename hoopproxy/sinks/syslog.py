"""The syslog sink: RFC 5424 over TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426), or the local ``/dev/log``.

Here is its plugin, which imports what it needs to send only when a sink is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.interfaces import IAuditSink, ISinkPlugin
from hoopproxy.sinks import SinkContext
from hoopproxy.sinks.syslog_options import FRAME_BYTES, problems, read

__all__ = ["SyslogPlugin"]

Options = Mapping[str, object]

FRAME_HEAD = 1_096
"""Bytes of a frame that are kept for what stands before the event; names and ids there are bounded."""


@implementer(IPlugin, ISinkPlugin)
class SyslogPlugin:
    """``type = "syslog"``."""

    name = "syslog"
    acknowledges = "none"
    default_format = "native"

    def problems(self, options: Options, base: Path) -> list[str]:
        return problems(options, base)

    def event_bytes(self, options: Options) -> int:
        """What surely fits into a frame beside its header and structured data, so that the format's own words say what
        is missing, not the frame."""
        most = options.get("max_frame_bytes", FRAME_BYTES)
        return (most if isinstance(most, int) else FRAME_BYTES) - FRAME_HEAD

    def make(self, options: Options, context: SinkContext) -> IAuditSink:
        from hoopproxy.sinks.syslog_frame import Frames
        from hoopproxy.sinks.syslog_sink import DatagramSink, StreamSink

        said = read(options, context.base)
        frames = Frames(
            host=context.node,
            app=said.app_name,
            process=os.getpid(),
            facility=said.facility,
            enterprise=said.enterprise_number,
            maximum=said.max_frame_bytes,
        )
        kind = StreamSink if said.transport in ("tls", "tcp") else DatagramSink
        return kind(said, context, frames)
