"""Registers the protocols that come with hoopproxy."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import classImplements

from hoopproxy.protocols.postgres.plugin import PostgresProtocol

classImplements(PostgresProtocol, IPlugin)

postgres = PostgresProtocol()
