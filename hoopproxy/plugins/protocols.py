"""Registers the protocols that come with hoopproxy."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import classImplements

from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.protocols.ssh.plugin import SSHProtocol

classImplements(PostgresProtocol, IPlugin)
classImplements(SSHProtocol, IPlugin)

postgres = PostgresProtocol()
ssh = SSHProtocol()
