"""``python -m tests.bench``: every measurement, one after the other; ``--quick`` for small numbers."""

from __future__ import annotations

import sys

from . import (
    beside,
    bulk,
    consumers,
    idle,
    latency,
    memory,
    modes,
    pgbench,
    recovery,
    ssh,
    verify,
    whole,
)

QUICK = {
    pgbench: ["--seconds", "3", "--rounds", "3"],
    bulk: ["--megabytes", "60", "--rounds", "3"],
    latency: ["--seconds", "2", "--rounds", "3"],
    modes: ["--seconds", "3", "--rounds", "2"],
    consumers: ["--transactions", "4000", "--rounds", "2"],
    idle: ["--sessions", "200"],
    ssh: ["--megabytes", "100", "--rounds", "3", "--sessions", "5", "--keys", "50"],
    whole: ["--seconds", "3", "--rounds", "2"],
    beside: ["--seconds", "3", "--rounds", "3", "--megabytes", "60"],
    memory: ["--seconds", "20", "--rate", "300"],
    recovery: ["--gib", "0.1", "0.2", "--statements", "4000", "16000", "--rounds", "2"],
    verify: ["--transactions", "10000", "--megabytes", "100", "--rounds", "2"],
}


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    for each, small in QUICK.items():
        print(f"\n== {(each.__doc__ or '').partition(chr(10))[0]}")
        print(each.main(small if quick else []))


main()
