"""Makes the lines protocol known: a folder hoopproxy/plugins/ in any distribution, without an __init__.py."""

from hoopproxy_lines import LinesProtocol

lines = LinesProtocol()
