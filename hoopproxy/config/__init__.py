"""TOML -> frozen values; an error names the key, what was wrong and what would do.

``model`` the values; ``table`` a checked cursor; ``sections`` each section; ``references`` what they say of
each other, of files and of plugins; ``sinks`` where the trail goes; ``reading`` files and includes;
``difference`` compares two.
"""

from __future__ import annotations

from hoopproxy.config.difference import Change, digest, needs_restart, redacted_difference
from hoopproxy.config.endpoints import tcp_address
from hoopproxy.config.model import (
    LOGIN_METHODS,
    VERSION,
    Account,
    ArchiveConfig,
    CheckerConfig,
    Config,
    Encryption,
    Gateway,
    Index,
    JournalOptions,
    LedgerConfig,
    Limits,
    Listener,
    ListenerTLS,
    Log,
    Network,
    Ops,
    Retention,
    RetentionDays,
    Role,
    SecretRef,
    Sink,
    Target,
    TargetTLS,
    Witness,
)
from hoopproxy.config.reading import load

__all__ = [
    "LOGIN_METHODS",
    "VERSION",
    "Account",
    "ArchiveConfig",
    "Change",
    "CheckerConfig",
    "Config",
    "Encryption",
    "Gateway",
    "Index",
    "JournalOptions",
    "LedgerConfig",
    "Limits",
    "Listener",
    "ListenerTLS",
    "Log",
    "Network",
    "Ops",
    "Retention",
    "RetentionDays",
    "Role",
    "SecretRef",
    "Sink",
    "Target",
    "TargetTLS",
    "Witness",
    "digest",
    "load",
    "needs_restart",
    "redacted_difference",
    "tcp_address",
]
