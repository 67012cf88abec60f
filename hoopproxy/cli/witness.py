"""``hoopproxy witness``: sign for somebody else's gateway that its log only grows."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from hoopproxy.cli.audit.ledgers import keys_given
from hoopproxy.errors import HoopproxyError
from hoopproxy.inert import inert
from hoopproxy.sealing.serving import Decided, Server, WitnessFolder

__all__ = ["witness"]

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--state", type=_PATH, required=True, help="Where it remembers; made (0700) if it is missing.")
@click.option("--name", required=True, metavar="NAME", help="Its name: like a URL without https://.")
@click.option("--listen", default="127.0.0.1:8750", show_default=True, metavar="HOST:PORT")
@click.option(
    "--log", "logs", multiple=True, metavar="KEY", help="A log's public key, or a file of such lines."
)
@click.option("--tls-certificate", type=_PATH, help="PEM, with its chain. With --tls-key: serve HTTPS.")
@click.option("--tls-key", type=_PATH, help="PEM.")
@click.option("--print-key", is_flag=True, help="Print the witness's public key, and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each decision too.")
def witness(
    state: Path,
    name: str,
    listen: str,
    logs: tuple[str, ...],
    tls_certificate: Path | None,
    tls_key: Path | None,
    print_key: bool,
    as_json: bool,
) -> None:
    """Run a witness (c2sp.org/tlog-witness): another team, on another machine, sees that a gateway's log only grows.

    It signs a checkpoint when a proof shows that it continues what it has signed before, and refuses everything
    else. The gateway's operator writes its URL and its public key (--print-key) into [[ledger.witness]]; it is
    given the gateway's public keys (`hoopproxy audit keys`). A key that the one before vouches for is taken by itself.

    \b
      hoopproxy witness --state /var/lib/witness --name witness.example/w1 --print-key
      hoopproxy witness --state /var/lib/witness --name witness.example/w1 --log gateway.keys --listen 0.0.0.0:8750
    """
    try:
        folder = WitnessFolder(state, name)
    except OSError as error:
        raise HoopproxyError(f"{error.filename or state}: {error.strerror}") from None
    if print_key:
        key = str(folder.key.public)
        folder.close()
        click.echo(json.dumps({"name": name, "key": key}) if as_json else key)
        return
    keys = keys_given(logs)
    if not keys:
        raise click.UsageError(
            "say whose log it witnesses: --log KEY, a line that `hoopproxy audit keys` printed"
        )
    host, port = _address(listen)
    tls = _tls(tls_certificate, tls_key)
    try:
        server = Server(folder.witness(keys), host, port, tls=tls, said=_telling(as_json))
    except OSError as error:
        raise HoopproxyError(f"{listen}: {error.strerror}") from None

    def stop(number: int, frame: Any) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if as_json:
        told = {"state": "listening", "name": name, "host": host, "port": server.port, "keys": len(keys)}
        click.echo(json.dumps(told))
    else:
        click.echo(f"witness {inert(name)} listens on {host}:{server.port} for {len(keys)} keys")
    server.serve()
    folder.close()


def _telling(as_json: bool) -> Callable[[Decided], None]:
    def tell(decided: Decided) -> None:
        if as_json:
            known = attrs.asdict(decided, filter=lambda _, value: value is not None)
            click.echo(json.dumps({"state": "decided", **known}))
        else:
            click.echo(inert(str(decided)))

    return tell


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.UsageError("--listen takes HOST:PORT")
    return host.strip("[]"), int(port)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--tls-certificate and --tls-key belong together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise HoopproxyError(
            f"{certificate}, {key}: {error.strerror or 'not a certificate and its key'}"
        ) from None
    return context
