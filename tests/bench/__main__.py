"""``python -m tests.bench``: every measurement, one after the other; ``--quick`` for small numbers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType

from . import (
    beside,
    bulk,
    consumers,
    idle,
    latency,
    long,
    memory,
    modes,
    pgbench,
    recovery,
    ssh,
    verify,
    whole,
)

QUICK: dict[ModuleType, list[str]] = {
    pgbench: ["--seconds", "3", "--rounds", "3"],
    bulk: ["--megabytes", "60", "--rounds", "3"],
    latency: ["--seconds", "2", "--rounds", "3"],
    modes: ["--seconds", "3", "--rounds", "2"],
    long: ["--sizes", "1", "--rounds", "1", "--sessions", "3", "--megabytes", "20"],
    consumers: ["--transactions", "4000", "--rounds", "2"],
    idle: ["--sessions", "200"],
    ssh: ["--megabytes", "100", "--rounds", "3", "--sessions", "5", "--keys", "50"],
    whole: ["--seconds", "3", "--rounds", "2"],
    beside: ["--seconds", "3", "--rounds", "3", "--megabytes", "60"],
    memory: ["--seconds", "20", "--rate", "300"],
    recovery: ["--gib", "0.1", "0.2", "--statements", "4000", "16000", "--rounds", "2"],
    verify: ["--transactions", "10000", "--megabytes", "100", "--rounds", "2"],
}
"""The measurements in their order, and the small numbers of each."""
BY_NAME = {each.__name__.rpartition(".")[2]: each for each in QUICK}


def headline(bench: ModuleType) -> str:
    """What a measurement says of itself, in one line."""
    return (bench.__doc__ or "").partition("\n")[0]


def chosen(text: str) -> list[ModuleType]:
    """The measurements that ``--only`` names, in the usual order."""
    names = [each.strip() for each in text.split(",")]
    unknown = [each for each in names if each not in BY_NAME]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(map(repr, unknown))}; --list has them all")
    return [each for name, each in BY_NAME.items() if name in names]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read before anything is started."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Every measurement, one after the other; python -m tests.bench.NAME --help for the numbers of one.",
    )
    parser.add_argument("--list", action="store_true", help="say what is measured, and end")
    parser.add_argument("--quick", action="store_true", help="small numbers: a look, not a result")
    parser.add_argument(
        "--only",
        type=chosen,
        default=list(QUICK),
        metavar="NAMES",
        help=f"of {', '.join(BY_NAME)}; comma separated",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    options = arguments(argv)
    for each in options.only:
        if options.list:
            print(f"{each.__name__.rpartition('.')[2]:10} {headline(each)}")
            continue
        print(f"\n== {headline(each)}", flush=True)
        print(each.main(QUICK[each] if options.quick else []), flush=True)


if __name__ == "__main__":
    main()
