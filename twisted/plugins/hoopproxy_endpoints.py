"""Makes ``embedded-postgres:`` known to Twisted's endpoint strings. Imports nothing that costs anything."""

from hoopproxy.demo.endpoint import EmbeddedPostgresParser

embedded_postgres = EmbeddedPostgresParser()
