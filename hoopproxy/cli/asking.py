"""Asking the running gateway through its control socket: one request, one answer, or a stream of lines."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from hoopproxy.cli.audit.source import Unreachable
from hoopproxy.cli.place import socket_of
from hoopproxy.errors import HoopproxyError

__all__ = ["Refused", "ask", "ask_many", "control_of", "where_options"]

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
SECONDS = 60.0
"""How long an answer may take: a reload waits for its secrets' sources."""


class Refused(HoopproxyError):
    """The gateway answered that it won't, and why."""


def where_options(function: F) -> F:
    """``--config FILE`` or ``--control SOCKET``: which gateway."""
    function = click.option("--control", type=_PATH, help="The gateway's control socket itself.")(function)
    return click.option("--config", type=_PATH, help="The gateway's configuration, which names the socket.")(
        function
    )


def control_of(config: Path | None, control: Path | None) -> Path:
    """The socket that the options name. :raises click.UsageError: unless they name exactly one."""
    if (config is None) == (control is None):
        raise click.UsageError("say which gateway, once: --config FILE or --control SOCKET")
    return control if control is not None else socket_of(config)  # type: ignore[arg-type]  # one of both is given


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The one answer to a request. :raises HoopproxyError: nobody answers, or the gateway won't."""
    for answer in _answers(path, request):
        return answer
    raise Unreachable(f"{path}: the gateway gave no answer")


def ask_many(path: Path, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines of an answer, as they come. :raises HoopproxyError: as :func:`ask`, also half-way."""
    for answer in _answers(path, request):
        if answer.get("end"):
            return
        yield answer
    raise Unreachable(f"{path}: the gateway's answer breaks off")


def _answers(path: Path, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    yield _checked(path, line)
        except TimeoutError:
            raise Unreachable(f"{path}: the gateway didn't answer within {SECONDS:g} s") from None
        except OSError as problem:
            raise Unreachable(f"{path}: no gateway answers ({problem.strerror})") from None


def _checked(path: Path, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unreachable(f"{path}: what answers there is no gateway")
    if "error" in answer:
        raise Refused(str(answer["error"]))
    return answer
