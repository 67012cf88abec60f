"""The syslog sink."""

from hoopproxy.sinks.syslog import SyslogPlugin

syslog_sink = SyslogPlugin()
