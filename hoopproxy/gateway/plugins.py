"""Plugin modules that can't be imported: found, named, and in nobody's way."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from hoopproxy.gateway.faults import described

__all__ = ["broken_plugins"]


def broken_plugins(package: ModuleType | None = None) -> dict[str, str]:
    """The modules of ``hoopproxy.plugins`` that fail at their import: name -> kind and place of the error.

    ``twisted.plugin`` leaves such a module out and goes on; this says which it was. The error's own words
    stay out of it: they could hold anything.
    """
    if package is None:
        import hoopproxy.plugins

        package = hoopproxy.plugins
    broken = {}
    for module in pkgutil.iter_modules(package.__path__):
        name = f"{package.__name__}.{module.name}"
        try:
            importlib.import_module(name)
        except BaseException as problem:  # a plugin's module may even try to exit
            if isinstance(problem, KeyboardInterrupt):
                raise
            broken[name] = described(problem)
    return broken
