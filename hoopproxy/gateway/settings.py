"""From a configuration to what sessions get: contexts, endpoints, checkers, policy. Nothing stays open."""

# Twisted's endpoint strings are untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import clientFromString

from hoopproxy import config as conf
from hoopproxy.errors import ConfigError, HoopproxyError
from hoopproxy.gateway.proxy_protocol import Senders
from hoopproxy.gateway.shared import Entrance, Settings, Upstream
from hoopproxy.gateway.tls import ClientTLS, ServerTLS
from hoopproxy.identity.hashes import Hashes
from hoopproxy.identity.portal import Portal
from hoopproxy.identity.throttle import Throttle
from hoopproxy.policy.roles import Role, RolePolicy

__all__ = ["Materials", "build", "read_materials", "role_of"]

Resolve = Callable[[Any], "Deferred[bytes]"]


@attrs.frozen(kw_only=True)
class Materials:
    """The TLS settings that certificates and keys gave, by listener and by target; and the listeners' own secrets."""

    listeners: Mapping[str, ServerTLS]
    targets: Mapping[str, ClientTLS]
    secrets: Mapping[str, Mapping[str, tuple[bytes, ...]]] = attrs.field(factory=dict, repr=False)


@inlineCallbacks
def read_materials(
    config: conf.Config, protocols: Mapping[str, Any], resolve: Resolve
) -> Generator[Deferred[Any], Any, Materials]:
    """Read certificates and keys and see whether they work together.

    Fails with ``ConfigError``: every problem, each naming its key.
    """
    problems: list[str] = []
    secrets: dict[str, Mapping[str, tuple[bytes, ...]]] = {}
    listeners: dict[str, ServerTLS] = {}
    targets: dict[str, ClientTLS] = {}
    for listener in config.listeners:
        where = f"{config.path}: listener[{listener.name}].tls"
        if listener.tls is not None:
            try:
                listeners[listener.name] = yield _server_tls(
                    listener.tls, tuple(protocols[listener.protocol].alpn), resolve
                )
            except HoopproxyError as problem:
                problems += _sentences(where, problem)
        try:
            secrets[listener.name] = yield _listener_secrets(config, listener, protocols, resolve)
        except HoopproxyError as problem:
            problems += _sentences(f"{config.path}: listener[{listener.name}].secrets", problem)
    for target in config.targets:
        where = f"{config.path}: target[{target.name}].tls"
        if target.tls.mode == "verify":
            try:
                targets[target.name] = yield _client_tls(target, resolve)
            except HoopproxyError as problem:
                problems += _sentences(where, problem)
    if problems:
        raise ConfigError(problems)
    return Materials(listeners=listeners, targets=targets, secrets=secrets)


@inlineCallbacks
def _listener_secrets(
    config: conf.Config, listener: conf.Listener, protocols: Mapping[str, Any], resolve: Resolve
) -> Generator[Deferred[Any], Any, Mapping[str, tuple[bytes, ...]]]:
    """A listener's own secrets, and those that its protocol makes where none are given (``make_secrets``)."""
    found: dict[str, tuple[bytes, ...]] = {}
    for name, refs in listener.secrets.items():
        values = []
        for ref in refs:
            value: bytes = yield resolve(ref)
            values.append(value)
        found[name] = tuple(values)
    plugin = protocols[listener.protocol]
    make = getattr(plugin, "make_secrets", None)
    if make is not None:
        found |= make(config.gateway.state / plugin.name, found)
    return MappingProxyType(found)


def _sentences(where: str, problem: HoopproxyError) -> list[str]:
    told = problem.problems if isinstance(problem, ConfigError) else (str(problem),)
    return [f"{where}: {sentence}" for sentence in told]


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError([f"{path} can't be read: {problem.strerror}"]) from None


@inlineCallbacks
def _server_tls(
    tls: conf.ListenerTLS, alpn: tuple[str, ...], resolve: Resolve
) -> Generator[Deferred[Any], Any, ServerTLS]:
    key: bytes = yield resolve(tls.key)
    return ServerTLS(
        certificate=_read(tls.certificate) or b"",
        key=key,
        client_ca=_read(tls.client_ca),
        required=tls.required,
        alpn=alpn,
    )


@inlineCallbacks
def _client_tls(target: conf.Target, resolve: Resolve) -> Generator[Deferred[Any], Any, ClientTLS]:
    tls = target.tls
    key: bytes | None = None
    if tls.key is not None:
        key = yield resolve(tls.key)
    return ClientTLS(name=tls.name or "", ca=_read(tls.ca), certificate=_read(tls.certificate), key=key)


def role_of(role: conf.Role) -> Role:
    """A role of the configuration as policy knows it."""
    return Role(
        name=role.name,
        groups=frozenset(role.groups),
        identities=frozenset(role.identities),
        targets=frozenset(role.targets),
        account=role.account,
        databases=None if role.databases is None else frozenset(role.databases),
        deny=frozenset(role.deny),
        max_statement=role.max_statement,
        read=role.read,
        options=role.options,
    )


def build(
    config: conf.Config,
    materials: Materials,
    *,
    protocols: Mapping[str, Any],
    checkers: Mapping[str, Any],
    reactor: Any,
    secret: bytes,
    hashes: Hashes,
    throttle: Throttle,
) -> Settings:
    """Put everything together. ``secret``: 32 bytes of this gateway's own.

    :raises ConfigError: a checker or an endpoint can't be made.
    """
    entrances = {
        listener.name: Entrance(
            config=listener,
            plugin=protocols[listener.protocol],
            tls=materials.listeners.get(listener.name),
            secrets=materials.secrets.get(listener.name, {}),
            senders=Senders(listener.proxy_protocol) if listener.proxy_protocol else None,
        )
        for listener in config.listeners
    }
    upstreams = {
        target.name: Upstream(
            config=target,
            plugin=protocols[target.protocol],
            endpoint=_endpoint(reactor, target),
            tls=materials.targets.get(target.name),
        )
        for target in config.targets
    }
    roles = tuple(role_of(role) for role in config.roles)
    matchers = {
        name: upstream.plugin.denies
        for name, upstream in upstreams.items()
        if callable(getattr(upstream.plugin, "denies", None))
    }
    made = [checkers[each.type].make(each.options, each.base, secret) for each in config.checkers]
    return Settings(
        config=config,
        digest=conf.digest(config),
        entrances=entrances,
        upstreams=upstreams,
        roles=roles,
        policy=RolePolicy(
            roles,
            matchers,
            [each.name for each in config.targets if not each.accounts],
            {each.name: each.protocol for each in config.targets},
        ),
        portal=Portal(made, clock=reactor, hashes=hashes, throttle=throttle),
        limits=MappingProxyType(attrs.asdict(config.limits)),
        checkers=config.checkers,
        places=places(config.targets, {name: each.plugin for name, each in upstreams.items()}),
    )


def places(
    targets: Iterable[conf.Target], plugins: Mapping[str, Any]
) -> Mapping[tuple[str, int], tuple[str, ...]]:
    """Where each target is: at its own name, with its connection's port and its protocol's usual one, and where its
    connection goes. A loop-back address is another machine's in the mouth of a client, so it names nothing."""
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    connections: list[tuple[tuple[str, int], str]] = []
    for target in targets:
        usual = getattr(plugins[target.name], "default_port", None)
        address = conf.tcp_address(target.connect)
        ports = dict.fromkeys(port for port in (usual, address and address[1]) if port)
        for port in ports:
            found[target.name.lower(), int(port)] = (target.name,)
        if address is not None and not _is_loopback(address[0]):
            connections.append(((address[0].rstrip(".").lower(), address[1]), target.name))
    for place, name in connections:
        found.setdefault(place, ())
        if name not in found[place]:
            found[place] += (name,)
    return MappingProxyType(found)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _endpoint(reactor: Any, target: conf.Target) -> Any:
    try:
        return clientFromString(reactor, target.connect)
    except Exception as problem:  # an endpoint plugin may raise anything about a string it doesn't like
        kind = type(problem).__name__
        raise ConfigError([f"target[{target.name}].connect can't be used ({kind})"]) from None
