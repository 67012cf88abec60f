"""The options that the audit commands share: where to read, which events, in which form."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from hoopproxy.cli.audit.source import AtRest, Gateway, Opening, Source
from hoopproxy.cli.place import socket_of
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import CATALOGUE, OUTCOMES
from hoopproxy.inert import inert
from hoopproxy.journal.age import BadKey, identities_of
from hoopproxy.journal.folder import Folder
from hoopproxy.reading.filters import BadFilter, Filter, parse_when
from hoopproxy.reading.journals import at_rest, one_journal

__all__ = [
    "ARCHIVE",
    "archive_named",
    "as_json",
    "event_filters",
    "identities_given",
    "identity_option",
    "journals_in",
    "made_filter",
    "made_source",
    "search_filters",
    "source_options",
    "who_and_where",
]

_IDENTITY_FILE = "hoopproxy.identity_file"
_ARCHIVE = "hoopproxy.archive"

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path, readable=False)  # what is wrong with it is told in better words later

ARCHIVE = click.option(
    "--archive",
    metavar="PLACE",
    expose_value=False,
    callback=lambda ctx, _, value: ctx.meta.__setitem__(_ARCHIVE, value),
    help="An archive: a folder, or s3://bucket/prefix. Needs its permission, and is not audited.",
)
"""Kept beside the command's parameters: :func:`archive_named`."""

_SOURCES = (
    click.option(
        "--config",
        type=_PATH,
        help="The gateway's configuration: ask the running gateway.",
    ),
    click.option("--control", type=_PATH, help="The gateway's control socket itself."),
    click.option(
        "--state",
        type=_PATH,
        help="A state directory at rest: needs its owner's permission, and is not audited.",
    ),
    click.option("--journal", type=_PATH, help="One journal's folder at rest; the same holds."),
    ARCHIVE,
)

identity_option = click.option(
    "--identity-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    expose_value=False,
    callback=lambda ctx, _, value: ctx.meta.__setitem__(_IDENTITY_FILE, value),
    help="Your identity (age or SSH private key): opens what is sealed for you.",
)
"""Kept beside the command's parameters: :func:`identities_given`."""

_WHO_AND_WHERE = (
    click.option(
        "--identity", "identities", multiple=True, metavar="ID", help="Who; * and ? stand for the rest."
    ),
    click.option("--target", "targets", multiple=True, metavar="NAME", help="Where."),
    click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="Over which protocol."),
)

_EVENTS = (
    click.option(
        "--since", default="", metavar="WHEN", help="Not before: 45s, 30m, 1h, 2d, 1w ago, or RFC 3339."
    ),
    click.option("--until", default="", metavar="WHEN", help="Before; the same forms."),
    click.option(
        "--kind",
        "kinds",
        multiple=True,
        metavar="KIND",
        help="Kind of event (command.denied) or family (command).",
    ),
    click.option(
        "--outcome",
        "outcomes",
        multiple=True,
        metavar="WORD",
        help=f"{', '.join(OUTCOMES[:-1])} or {OUTCOMES[-1]}.",
    ),
)

_TEXT = click.option("--text", default="", metavar="WORDS", help="Said in the event, in whatever case.")

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def _all(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def source_options(function: F) -> F:
    """Where the trail is read: one of --config, --control, --state, --journal; and what opens it."""
    return _all((*_SOURCES, identity_option))(function)


def who_and_where(function: F) -> F:
    """Filters about sessions."""
    return _all(_WHO_AND_WHERE)(function)


def event_filters(function: F) -> F:
    """Filters about events."""
    return _all((*_EVENTS, _TEXT))(function)


def search_filters(function: F) -> F:
    """The same without --text: a search has words of its own."""
    return _all(_EVENTS)(function)


def archive_named() -> str | None:
    """What ``--archive`` names."""
    found: str | None = click.get_current_context().meta.get(_ARCHIVE)
    return found


def journals_in(archive: str) -> list[Folder]:
    """The journals of an archive. :raises HoopproxyError: there is none, or it can't be read."""
    # Imported here: who reads no archive needs no library for one.
    from hoopproxy.archive.making import named
    from hoopproxy.archive.reading import archived

    return archived(named(archive))


def made_source(
    config: Path | None, control: Path | None, state: Path | None, journal: Path | None
) -> Source:
    """The source that the options name.

    :raises click.UsageError: unless they name exactly one.
    """
    archive = archive_named()
    named = [each for each in (config, control, state, journal) if each is not None]
    if len(named) + (archive is not None) != 1:
        raise click.UsageError(
            "say where to read, once: --config FILE or --control SOCKET asks the running gateway; "
            "--state DIR or --journal DIR reads files at rest, --archive PLACE an archive"
        )
    identities = identities_given()
    if config is not None:
        return Opening(Gateway(socket_of(config)), identities)
    if control is not None:
        return Opening(Gateway(control), identities)

    def find() -> list[Folder]:
        if archive is not None:
            folders = journals_in(archive)
        else:
            folders = at_rest(state) if state is not None else [one_journal(named[0])]
        for folder in folders if identities else ():
            folder.keyring = folder.keyring.with_identities(identities)
        return folders

    return Opening(AtRest(find), identities)


def identities_given() -> list[Any]:
    """Of the file that ``--identity-file`` names; none without one. :raises HoopproxyError: it holds none."""
    path: Path | None = click.get_current_context().meta.get(_IDENTITY_FILE)
    if path is None:
        return []
    try:
        return identities_of(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise HoopproxyError(f"{path}: can't be read ({type(problem).__name__})") from None
    except BadKey as problem:
        raise HoopproxyError(f"{path}: {problem}") from None


def made_filter(
    identities: tuple[str, ...] = (),
    targets: tuple[str, ...] = (),
    protocols: tuple[str, ...] = (),
    since: str = "",
    until: str = "",
    kinds: tuple[str, ...] = (),
    text: str = "",
    outcomes: tuple[str, ...] = (),
) -> Filter:
    """The filter that the options make.

    A kind that this version doesn't know may be a plugin's, so that is a note; a mistyped one finds nothing.

    :raises click.UsageError: for a time that is none, or an outcome that no event has.
    """
    now = dt.datetime.now(dt.UTC)
    try:
        made = Filter(
            identities=identities,
            targets=targets,
            protocols=protocols,
            since=parse_when(since, now) if since else "",
            until=parse_when(until, now) if until else "",
            kinds=kinds,
            text=text,
            outcomes=outcomes,
        )
    except BadFilter as error:
        raise click.UsageError(str(error)) from None
    for word in outcomes:
        if not any(attrs.evolve(made, outcomes=(word,)).is_outcome(each) for each in OUTCOMES):
            raise click.UsageError(
                f"{word!r} is no outcome; say {', '.join(OUTCOMES[:-1])} or {OUTCOMES[-1]}"
            )
    for kind in kinds:
        if not any(attrs.evolve(made, kinds=(kind,)).is_kind(each) for each in CATALOGUE):
            known = (*CATALOGUE, *(each.partition(".")[0] for each in CATALOGUE))
            close = difflib.get_close_matches(kind, known, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            click.echo(inert(f"note: {kind!r} is no kind of event that is known here{meant}"), err=True)
    return made
