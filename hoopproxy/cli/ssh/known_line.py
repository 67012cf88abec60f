"""``hoopproxy ssh known-line FILE``: the lines of known_hosts by which clients know a gateway's SSH listeners."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import click

from hoopproxy.cli.ssh.public import BEFORE_START, load_file, public_line, read_secrets
from hoopproxy.config import Config, Listener
from hoopproxy.config.endpoints import tcp_port
from hoopproxy.errors import ConfigError
from hoopproxy.protocols.ssh.certs import read_certificate
from hoopproxy.protocols.ssh.hostcerts import certified
from hoopproxy.protocols.ssh.keyring import host_keys, present
from hoopproxy.protocols.ssh.keys import fingerprint

__all__ = ["known_line"]

SSH_PORT = 22
_BRACKETED: Final = re.compile(r"\[(?P<name>[^\[\]]+)\](?::(?P<port>[0-9]{1,5}))?")
_NAME: Final = re.compile(r"[^\s,:\[\]#@|!\x00-\x20\x7f]+")


@attrs.frozen(kw_only=True)
class Line:
    """A line of known_hosts. ``what``: ``key``, ``certificate`` or ``jump``."""

    listener: str
    what: str
    hosts: str
    key: str
    fingerprint: str

    @property
    def text(self) -> str:
        mark = "" if self.what == "key" else "@cert-authority "
        return f"{mark}{self.hosts} {self.key} hoopproxy {self.listener}"


@click.command("known-line")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("listener", required=False)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A name that clients use, or [NAME]:PORT. Default: the gateway's node.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port that clients use. Default: the listener's."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def known_line(
    file: Path, listener: str | None, hosts: tuple[str, ...], port: int | None, as_json: bool
) -> None:
    """Print the lines for clients' known_hosts of the SSH listeners in the configuration FILE, or of one.

    \b
      HOST KEY                       a host key
      @cert-authority HOST KEY       who signed a certificate that is shown for one (host_certificate)
      @cert-authority TARGET,... KEY who signs for the hosts behind `ssh -J` (host_ca)

    A public key is no secret; the way that it takes to the clients must be one that nobody can change.

    \b
      hoopproxy ssh known-line gateway.toml --host gateway.example >> /etc/ssh/ssh_known_hosts
    """
    config = load_file(file)
    found = [each for each in config.listeners if each.protocol == "ssh" and listener in (None, each.name)]
    if not found:
        named = f"no SSH listener {listener}" if listener is not None else "no SSH listener"
        raise click.ClickException(f"{file} has {named}")
    for each in found:
        for line in _lines(config, each, hosts or (config.gateway.node,), port):
            told = {**attrs.asdict(line), "line": line.text}
            click.echo(json.dumps(told) if as_json else line.text)


def _lines(config: Config, listener: Listener, hosts: tuple[str, ...], port: int | None) -> Iterator[Line]:
    where = f"{config.path}: listener[{listener.name}]"
    secrets = read_secrets(where, listener.secrets)
    keys = certified(present(config.gateway.state / "ssh", secrets), listener.options, time.time())
    if not keys:
        raise ConfigError([f"{where} has no host key yet: {BEFORE_START}"])
    names = _names(hosts, port or tcp_port(listener.listen) or SSH_PORT)
    told = set()
    for key in keys:
        if key.certificate is None:
            what, blob = "key", key.blob(key.algorithms[0])
        else:
            what, blob = "certificate", read_certificate(key.certificate).authority.blob
        if blob not in told:
            told.add(blob)
            yield _line(listener, what, names, blob)
    for authority in host_keys(secrets.get("host_ca", ())):
        yield _line(listener, "jump", ",".join(listener.targets), authority.blob(authority.algorithms[0]))


def _line(listener: Listener, what: str, hosts: str, blob: bytes) -> Line:
    return Line(
        listener=listener.name, what=what, hosts=hosts, key=public_line(blob), fingerprint=fingerprint(blob)
    )


def _names(hosts: tuple[str, ...], port: int) -> str:
    return ",".join(_name(each, port) for each in hosts)


def _name(host: str, port: int) -> str:
    """As clients look it up (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). ``[NAME]:PORT`` has a port of its own."""
    bracketed = _BRACKETED.fullmatch(host)
    if bracketed:
        host, port = bracketed["name"], int(bracketed["port"] or port)
    if not _is_name(host) or not 0 < port < 1 << 16:
        raise click.BadParameter(
            f"{host!r} is no name of a host: a name, an address, or [NAME]:PORT", param_hint="--host"
        )
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _is_name(host: str) -> bool:
    """Whether it stays one word of the line's first field, and does not make another thing of the line."""
    if ":" in host:
        with contextlib.suppress(ValueError):
            return bool(ipaddress.IPv6Address(host))
        return False
    return _NAME.fullmatch(host) is not None
