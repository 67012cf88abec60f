"""Registrations only: import-light modules whose objects are plugins.

Other distributions add theirs in a ``hoopproxy/plugins/`` folder of their own, without an ``__init__.py``.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))  # type: ignore[no-untyped-call]  # Twisted's has no types
__all__: list[str] = []
