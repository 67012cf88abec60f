"""The configuration as values. Names are those of the TOML; paths are absolute; secrets are references."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from attrs import field, frozen

__all__ = [
    "LOGIN_METHODS",
    "USUAL_METHODS",
    "VERSION",
    "Account",
    "ArchiveConfig",
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
    "Mode",
    "Network",
    "Ops",
    "Read",
    "Record",
    "Retention",
    "RetentionDays",
    "Role",
    "SecretRef",
    "Sink",
    "Target",
    "TargetTLS",
    "Witness",
]

VERSION = 1
"""The newest ``[config] version`` that this release reads."""

LOGIN_METHODS = ("scram", "password", "certificate", "publickey", "keyboard-interactive")
"""What ``login`` of a listener may name; a protocol's plugin says which of them it has (``login_methods``)."""

USUAL_METHODS = ("scram", "password", "certificate")
"""Those of a protocol whose plugin doesn't say."""

Mode = Literal["strict", "bounded", "best-effort"]
Record = Literal["full", "requests", "metadata"]
Read = Literal["none", "own", "targets", "all"]
Network = IPv4Network | IPv6Network

_EMPTY: Mapping[str, object] = MappingProxyType({})


@frozen
class SecretRef:
    """Where a secret is: ``env:NAME``, ``file:PATH``, or a plugin's scheme. Never the secret.

    ``base`` is the folder of the file that names it, which relative paths start from.
    """

    scheme: str
    rest: str
    base: Path = field(default=Path("/"), repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    def __repr__(self) -> str:
        return f"<secret {self}>"


@frozen(kw_only=True)
class Gateway:
    """``[gateway]``. ``control`` is absolute."""

    node: str
    state: Path
    control: Path
    drain_seconds: int = 30
    allow_volatile_state: bool = False
    reactor: Literal["slim", "stock"] = "slim"
    cpu_affinity: int | Literal["auto", "none"] = "auto"


@frozen(kw_only=True)
class Log:
    """``[log]``: the gateway's own log, apart from the trail."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"


@frozen(kw_only=True)
class JournalOptions:
    """``[journal]``."""

    sync_ms: int = 20
    max_lag_ms: int = 200
    max_lag_bytes: int = 16 << 20
    segment_bytes: int = 64 << 20
    reserve_bytes: int = 16 << 20
    compression: Literal["zstd", "none"] = "zstd"


@frozen
class Witness:
    """``[[ledger.witness]]``: ``key`` is its public key, one line (c2sp.org/signed-note)."""

    url: str
    key: str


@frozen(kw_only=True)
class LedgerConfig:
    """``[ledger]``. ``origin`` is what the names of its logs begin with, ``None``: the node; ``timestamp`` a
    URL, ``None``: off."""

    enabled: bool = True
    origin: str | None = None
    epoch_hours: int = 24
    witness: tuple[Witness, ...] = ()
    witness_seconds: int = 10
    timestamp: str | None = None
    timestamp_minutes: int = 60


@frozen(kw_only=True)
class ArchiveConfig:
    """``[archive]``. ``to``: a folder's absolute path, or ``s3://bucket/prefix``; ``None``: off. ``retain_days`` 0: no
    Object Lock. Without ``access_key`` whoever the machine is, is asked."""

    to: str | None = None
    endpoint: str | None = None
    region: str | None = None
    access_key: SecretRef | None = None
    secret_key: SecretRef | None = None
    retain_days: int = 0
    retain_mode: Literal["compliance", "governance"] = "compliance"


@frozen(kw_only=True)
class Encryption:
    """``[encryption]``: on when ``recipients`` names somebody. ``key``: ``None`` is a file of the state directory."""

    recipients: tuple[str, ...] = ()
    key: SecretRef | None = None


@frozen(kw_only=True)
class RetentionDays:
    """``[retention.targets.NAME]``: days that records stay; 0 is for ever."""

    events_days: int = 400
    payload_days: int = 90


@frozen(kw_only=True)
class Retention:
    """``[retention]``. ``every_hours`` 0: only when an operator says so."""

    events_days: int = 400
    payload_days: int = 90
    every_hours: int = 24
    targets: Mapping[str, RetentionDays] = MappingProxyType({})


@frozen(kw_only=True)
class Index:
    """``[index]``: the search index."""

    enabled: bool = True


@frozen(kw_only=True)
class Ops:
    """``[ops]``: ``listen`` is a Twisted server endpoint, ``None`` for off."""

    listen: str | None = None


@frozen(kw_only=True)
class Limits:
    """``[limits]``. Where a limit may be off, 0 means off."""

    pre_login_connections: int = 100
    login_seconds: int = 30
    sessions_per_listener: int = 1000
    sessions_per_identity: int = 100
    sessions_per_address: int = 200
    held_bytes: int = 256 << 20
    max_held: int = 16 << 20
    spooled_bytes: int = 1 << 30
    max_statement: int = 64 << 20
    idle_seconds: int = 0
    session_seconds: int = 0
    failure_delay_ms: int = 500
    failures_per_minute_address: int = 30
    failures_per_minute_user: int = 10
    hash_workers: int = 2


@frozen(kw_only=True)
class ListenerTLS:
    """``[listener.tls]``. ``client_ca``: who signs client certificates; ``None``: none are asked for."""

    certificate: Path
    key: SecretRef
    client_ca: Path | None = None
    required: bool = True


@frozen(kw_only=True)
class Listener:
    """``[[listener]]``. ``login`` is what is accepted, defaults resolved. ``secrets``: the protocol's own, by name."""

    name: str
    protocol: str
    listen: str
    targets: tuple[str, ...]
    login: tuple[str, ...] = USUAL_METHODS
    insecure_cleartext: bool = False
    proxy_protocol: tuple[Network, ...] = ()
    tls: ListenerTLS | None = None
    options: Mapping[str, object] = _EMPTY
    secrets: Mapping[str, tuple[SecretRef, ...]] = MappingProxyType({})


@frozen(kw_only=True)
class TargetTLS:
    """``[target.tls]``. ``name``: whom the server's certificate is for; ``ca`` ``None``: the system's."""

    mode: Literal["verify", "off"] = "verify"
    ca: Path | None = None
    name: str | None = None
    certificate: Path | None = None
    key: SecretRef | None = None


@frozen(kw_only=True)
class Account:
    """``[target.accounts.NAME]``: an upstream account. Clients never see it. ``key``: a private key to log in with."""

    name: str
    user: str
    password: SecretRef | None = None
    key: SecretRef | None = None


@frozen(kw_only=True)
class Target:
    """``[[target]]``. ``durable_at``: required sinks that a strict command waits for, besides the journal.
    ``secrets``: the protocol's own, by name, read again at each connection."""

    name: str
    protocol: str
    connect: str
    mode: Mode = "strict"
    record: Record = "full"
    index_rows: bool = False
    durable_at: tuple[str, ...] = ()
    labels: Mapping[str, str] = MappingProxyType({})
    tls: TargetTLS = TargetTLS()
    accounts: Mapping[str, Account] = MappingProxyType({})
    options: Mapping[str, object] = _EMPTY
    secrets: Mapping[str, tuple[SecretRef, ...]] = MappingProxyType({})


@frozen(kw_only=True)
class CheckerConfig:
    """``[[checker]]``: ``type`` names the plugin, the rest of the table is its options."""

    type: str
    options: Mapping[str, object]
    base: Path


@frozen(kw_only=True)
class Sink:
    """``[[sink]]``: ``type`` names the plugin; what is not here is the plugin's, in ``options``.

    ``format`` ``None``: the plugin's own. ``from_``: ``"oldest"``, ``"now"``, or a record's number in the
    newest journal; looked at when the sink has no cursor yet. Of the quotas 0 is off. ``max_event_bytes``
    ``None``: the plugin's own, or 900 KiB.
    """

    name: str
    type: str
    format: str | None = None
    required: bool = False
    from_: str | int = "oldest"
    quota_bytes: int = 4 << 30
    quota_seconds: int = 0
    batch_events: int = 1000
    batch_bytes: int = 1 << 20
    batch_seconds: int = 30
    max_event_bytes: int | None = None
    kinds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    options: Mapping[str, object] = _EMPTY
    base: Path = Path("/")


@frozen(kw_only=True)
class Role:
    """``[[role]]``. ``databases``: ``None`` is any. ``max_statement``: ``None`` is the gateway's limit.
    ``options``: what else it may do, by the name of the protocol."""

    name: str
    groups: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    account: str | None = None
    databases: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    max_statement: int | None = None
    read: Read = "none"
    options: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@frozen(kw_only=True)
class Config:
    """A configuration that was read whole and found fine. ``files`` are those that it came from."""

    path: Path
    files: tuple[Path, ...]
    gateway: Gateway
    log: Log
    journal: JournalOptions
    retention: Retention = Retention()
    ledger: LedgerConfig = LedgerConfig()
    archive: ArchiveConfig = ArchiveConfig()
    encryption: Encryption = Encryption()
    index: Index = Index()
    ops: Ops
    limits: Limits
    listeners: tuple[Listener, ...]
    targets: tuple[Target, ...]
    checkers: tuple[CheckerConfig, ...]
    roles: tuple[Role, ...]
    sinks: tuple[Sink, ...] = ()

    @property
    def follows(self) -> bool:
        """Whether anything needs the process that follows the journals."""
        return self.ledger.enabled or bool(self.sinks) or self.indexes or self.archive.to is not None

    @property
    def indexes(self) -> bool:
        """Whether a search index is kept: its words are in the clear, so not beside an encrypted journal."""
        return self.index.enabled and not self.encryption.recipients
