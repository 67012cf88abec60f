"""SSH's transport layer on both legs: packets below, framed payloads above.

Read :mod:`~hoopproxy.protocols.ssh.transport.layer`, then ``server`` and ``client``; ``kex`` runs one key
exchange on conch, ``algorithms`` says what is offered, ``ciphers`` what a packet looks like, ``adapter`` is the
connection that a stream is given.
"""

from __future__ import annotations

from hoopproxy.protocols.ssh.transport.broken import TransportBroken
from hoopproxy.protocols.ssh.transport.client import ClientLayer
from hoopproxy.protocols.ssh.transport.hostkey import HostKey
from hoopproxy.protocols.ssh.transport.server import ServerLayer

__all__ = ["ClientLayer", "HostKey", "ServerLayer", "TransportBroken"]
