"""Makes the sink known: a folder hoopproxy/plugins/ in any distribution, without an __init__.py."""

from hoopproxy_jsonlines import JsonLines

jsonlines = JsonLines()
