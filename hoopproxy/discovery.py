"""The plugins that are installed, by the name that the configuration calls them.

A plugin is a module-level object in a ``hoopproxy/plugins/`` folder of any distribution. A module that can't
be imported is logged by Twisted and keeps nobody else from being found; two plugins of one name are a
problem that is told, and the first (ours before others) is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from attrs import field, frozen

__all__ = ["Installed", "installed", "plugins_of", "row_texts", "screen_texts"]


def plugins_of(
    interface: Any,
    key: str,
    *,
    package: ModuleType | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """All plugins that provide ``interface``, by their attribute ``key``, sorted.

    :param package: where to look; ``hoopproxy.plugins``.
    :param told: called with a sentence about each plugin that is left out.
    """
    # Imported here: looking for plugins imports them, which only those who need them should pay for.
    from twisted.plugin import getPlugins

    import hoopproxy.plugins

    found: dict[str, Any] = {}
    plugins: list[Any] = list(getPlugins(interface, package or hoopproxy.plugins))
    for plugin in sorted(plugins, key=lambda plugin: not type(plugin).__module__.startswith("hoopproxy.")):
        name = getattr(plugin, key, None)
        if not isinstance(name, str) or not name:
            told(f"a plugin of {type(plugin).__module__} has no {key} and is left out")
        elif name in found:
            told(f"a second plugin called {name} ({type(plugin).__module__}) is left out")
        else:
            found[name] = plugin
    return dict(sorted(found.items()))


@frozen
class Installed:
    """What the configuration can name."""

    protocols: dict[str, Any]
    checkers: dict[str, Any]
    sources: dict[str, Any]
    sinks: dict[str, Any] = field(factory=dict)

    @property
    def by_kind(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Each kind of plugin, as people call it, and those of that kind by name."""
        return (
            ("protocol", self.protocols),
            ("checker", self.checkers),
            ("secret source", self.sources),
            ("sink", self.sinks),
        )

    @property
    def versions(self) -> dict[str, str]:
        """``kind name`` to version (empty where there is none): plugins of two kinds may have one name."""
        return {
            f"{kind} {name}": str(getattr(plugin, "version", ""))
            for kind, named in self.by_kind
            for name, plugin in named.items()
        }

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes of secret references."""
        return tuple(sorted({"env", "file", *self.sources}))


def installed(told: Callable[[str], None] = lambda _: None) -> Installed:
    """Every protocol, checker, secret source and sink that is installed."""
    from hoopproxy.interfaces import IAuditableProtocol, ICheckerPlugin, ISecretSource, ISinkPlugin

    return Installed(
        protocols=plugins_of(IAuditableProtocol, "name", told=told),
        checkers=plugins_of(ICheckerPlugin, "name", told=told),
        sources=plugins_of(ISecretSource, "scheme", told=told),
        sinks=plugins_of(ISinkPlugin, "name", told=told),
    )


def row_texts(protocol: str) -> Callable[[bytes], Iterable[str]] | None:
    """What reads the texts in the bytes of a protocol's results; ``None``: its plugin offers nothing of the
    kind."""
    texts: Callable[[bytes], Iterable[str]] | None = _offered(protocol, "row_texts")
    return texts


def screen_texts(protocol: str) -> Callable[[str], Any] | None:
    """What reads the texts that a session of a protocol showed; ``None`` as above."""
    texts: Callable[[str], Any] | None = _offered(protocol, "screen_texts")
    return texts


def _offered(protocol: str, name: str) -> Any:
    from hoopproxy.interfaces import IAuditableProtocol

    return getattr(plugins_of(IAuditableProtocol, "name").get(protocol), name, None)
