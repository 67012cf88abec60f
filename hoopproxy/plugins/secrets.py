"""The sources of secrets that come with hoopproxy."""

from hoopproxy.secrets import EnvironmentSource, FileSource

environment_source = EnvironmentSource()
file_source = FileSource()
