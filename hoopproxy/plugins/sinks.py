"""The sinks that come with hoopproxy."""

from hoopproxy.sinks.file import FilePlugin

file = FilePlugin()
