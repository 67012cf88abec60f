"""``python -m tests.bench``: every measurement, one after the other; ``--quick`` for small numbers."""

from __future__ import annotations

import sys

from . import bulk, idle, latency, pgbench, ssh, whole

QUICK = {
    pgbench: ["--seconds", "3", "--rounds", "3"],
    bulk: ["--megabytes", "60", "--rounds", "3"],
    latency: ["--seconds", "2", "--rounds", "3"],
    idle: ["--sessions", "200"],
    ssh: ["--megabytes", "100", "--rounds", "3", "--sessions", "5", "--keys", "50"],
    whole: ["--seconds", "3", "--rounds", "2"],
}


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    for each, small in QUICK.items():
        print(f"\n== {(each.__doc__ or '').partition(chr(10))[0]}")
        print(each.main(small if quick else []))


main()
