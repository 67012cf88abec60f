"""From files to a :class:`~hoopproxy.config.model.Config`, or to every problem at once."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from hoopproxy.config import sections
from hoopproxy.config.archive import read_archive
from hoopproxy.config.chains import check_chains
from hoopproxy.config.ledger import read_ledger
from hoopproxy.config.model import VERSION, Config
from hoopproxy.config.references import Entry, Parts, check_parts
from hoopproxy.config.sinks import check_durable_at, check_sinks, read_sink
from hoopproxy.config.table import Table
from hoopproxy.errors import ConfigError
from hoopproxy.events import CATALOGUE

__all__ = ["load"]

_MAXIMUM_FILE = 16 << 20
"""Bytes of one file; more is not a configuration."""

_MAXIMUM_FILES = 1000
"""Files that one ``include`` may bring."""

_T = TypeVar("_T")


def load(
    path: Path | str,
    *,
    protocols: Mapping[str, object] | None = None,
    checkers: Mapping[str, object] | None = None,
    sinks: Mapping[str, object] | None = None,
    schemes: Sequence[str] = ("env", "file"),
) -> Config:
    """Read the file and what it includes.

    :param protocols: the protocol plugins by name; their ``problems(listener_options, target_options)`` is
        asked. ``None``: don't check.
    :param checkers: the checker plugins by name; their ``problems(options, base)`` is asked.
    :param sinks: the sink plugins by name; their ``problems(options, base)`` is asked.
    :param schemes: the schemes of secret references that some source resolves.
    :raises ConfigError: every problem, each a sentence that names file and key.
    """
    problems: list[str] = []
    documents = _read_all(Path(path).absolute(), problems)
    config = _assemble(documents, protocols, checkers, sinks, schemes) if documents else None
    if problems or config is None:
        raise ConfigError(problems)
    return config


@frozen
class _Document:
    """One file: its top table, shared by everything that reads from it."""

    path: Path
    table: Table


def _read_all(path: Path, problems: list[str]) -> list[_Document]:
    main = _parse(path, problems)
    if main is None:
        return []
    documents = [main]
    _check_version(main)
    for pattern in main.table.texts("include"):
        for included in _matching(main, pattern):
            document = _parse(included, problems)
            if document is None:
                continue
            for key in ("include", "config"):
                if document.table.has(key):
                    document.table.problem(key, f"is for the main file only ({path}); move it there")
                    document.table.pass_over(key)
            documents.append(document)
    return documents


def _matching(main: _Document, pattern: str) -> list[Path]:
    folder = main.path.parent
    if any(mark in pattern for mark in "*?["):
        base, relative = (Path("/"), pattern.lstrip("/")) if pattern.startswith("/") else (folder, pattern)
        try:
            # A pattern may cover the file that it stands in: there is nothing more to include then.
            files = (file for file in base.glob(relative) if file.is_file())
            found = sorted(file for file in files if not file.samefile(main.path))
        except (ValueError, NotImplementedError, OSError):
            main.table.problem("include", f'holds "{pattern}", which is not a pattern of file names')
            return []
        if len(found) > _MAXIMUM_FILES:
            main.table.problem("include", f'holds "{pattern}", which names over {_MAXIMUM_FILES} files')
            return []
        return found
    file = folder / pattern
    if not file.is_file():
        main.table.problem("include", f'names "{pattern}", but there is no such file ({file})')
        return []
    return [file]


def _parse(path: Path, problems: list[str]) -> _Document | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            problems.append(f"{path}: is not a regular file")
            return None
        with path.open("rb") as stream:
            data = stream.read(_MAXIMUM_FILE + 1)
        if len(data) > _MAXIMUM_FILE:
            problems.append(f"{path}: is over {_MAXIMUM_FILE} bytes")
            return None
        return _Document(path, Table(tomllib.loads(data.decode("utf-8")), "", path, problems))
    except OSError as problem:
        problems.append(f"{path}: can't be read: {problem.strerror}")
    except UnicodeDecodeError as problem:
        problems.append(f"{path}: is not UTF-8 at byte {problem.start}")
    except tomllib.TOMLDecodeError as problem:
        problems.append(f"{path}: is not TOML: {_described(problem)}")
    except RecursionError:
        problems.append(f"{path}: is not TOML that can be read: tables or lists are nested too deep")
    return None


def _described(problem: tomllib.TOMLDecodeError) -> str:
    """What the parser said. Its text quotes at most one character or a key, never a value."""
    return str(problem).replace("\n", " ")[:200]


def _check_version(main: _Document) -> None:
    table = main.table.table("config")
    if table is None:
        return
    version = table.number("version", VERSION, 1, 1 << 30)
    if version > VERSION:
        table.problem("version", f"is {version}, but this release reads up to {VERSION}; use a newer release")
    table.finish()


def _assemble(
    documents: Sequence[_Document],
    protocols: Mapping[str, object] | None,
    checkers: Mapping[str, object] | None,
    sinks: Mapping[str, object] | None,
    schemes: Sequence[str],
) -> Config:
    single = _Singles(documents)
    limits = single.read("limits", sections.read_limits)
    parts = Parts(
        listeners=_entries(
            documents, "listener", lambda table: sections.read_listener(table, schemes, protocols)
        ),
        targets=_entries(documents, "target", lambda table: sections.read_target(table, schemes)),
        checkers=_entries(documents, "checker", sections.read_checker, label="type"),
        roles=_entries(documents, "role", sections.read_role),
        limits=limits,
    )
    outlets = _entries(documents, "sink", read_sink)
    config = Config(
        path=documents[0].path,
        files=tuple(document.path for document in documents),
        gateway=single.read("gateway", sections.read_gateway),
        log=single.read("log", sections.read_log),
        journal=single.read("journal", sections.read_journal),
        ledger=single.read("ledger", read_ledger),
        archive=single.read("archive", lambda table: read_archive(table, schemes)),
        retention=single.read("retention", sections.read_retention),
        encryption=single.read("encryption", lambda table: sections.read_encryption(table, schemes)),
        index=single.read("index", sections.read_index),
        ops=single.read("ops", sections.read_ops),
        limits=limits,
        listeners=tuple(entry.value for entry in parts.listeners),
        targets=tuple(entry.value for entry in parts.targets),
        checkers=tuple(entry.value for entry in parts.checkers),
        roles=tuple(entry.value for entry in parts.roles),
        sinks=tuple(entry.value for entry in outlets),
    )
    for document in documents:
        document.table.finish()
    for key, found, what in (
        ("listener", config.listeners, "nothing would listen"),
        ("checker", config.checkers, "nobody could log in"),
    ):
        if not found and not any(document.table.fills(key) for document in documents):
            documents[0].table.problem(key, f"is missing, so {what}; write at least one [[{key}]]")
    check_parts(parts, protocols, checkers)
    check_chains(parts, protocols, checkers)
    check_sinks(outlets, {target.name: target for target in config.targets}, sinks, CATALOGUE)
    for entry in parts.targets:
        check_durable_at(entry, {sink.name: sink for sink in config.sinks}, sinks)
    return config


class _Singles:
    """Sections that may be there once, in whichever file."""

    def __init__(self, documents: Sequence[_Document]) -> None:
        self._documents = documents

    def read(self, key: str, read: Callable[[Table], _T]) -> _T:
        """The section from the file that has it, else from an empty table of the main file."""
        having = [document for document in self._documents if document.table.has(key)]
        for document in having[1:]:
            document.table.problem(key, f"is in {having[0].path} too; write it in one file")
            document.table.table(key)
        table = having[0].table.table(key) if having else None
        if table is None:
            main = self._documents[0]
            table = Table({}, key, main.path, [])
        value = read(table)
        table.finish()
        return value


def _entries(
    documents: Sequence[_Document], key: str, read: Callable[[Table], _T], label: str = "name"
) -> list[Entry[_T]]:
    return list(_each(documents, key, read, label))


def _each(
    documents: Sequence[_Document], key: str, read: Callable[[Table], _T], label: str
) -> Iterator[Entry[_T]]:
    for document in documents:
        for table in document.table.list_of_tables(key, label):
            value = read(table)
            table.finish()
            yield Entry(value, table)
