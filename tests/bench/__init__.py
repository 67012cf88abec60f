"""Measurements: CPU, speed, memory and latency against PgBouncer, a plain relay and no proxy at all.

::

    python -m tests.bench.pgbench    # CPU a transaction, transactions a second, journal bytes a transaction
    python -m tests.bench.bulk       # SELECT and COPY in MB/s, 200-byte and 24-byte messages
    python -m tests.bench.idle       # memory of an idle session at 1,000, plain and TLS
    python -m tests.bench.latency    # what `strict` adds to one client's transaction, in fdatasyncs
    python -m tests.bench.modes      # events a second and added latency, by mode and sessions
    python -m tests.bench.consumers  # CPU an event: append, seal, index, each sink
    python -m tests.bench.whole      # CPU and disk of a transaction, with everything on
    python -m tests.bench.beside     # the data path with the trail's readers beside it, and without
    python -m tests.bench.memory     # resident memory of both processes over minutes of load
    python -m tests.bench.recovery   # start of a gateway on GiB of segments, and after a kill
    python -m tests.bench.verify     # events and MB a second of `audit verify`
    python -m tests.bench.export     # CPU of an exported transaction, by format
    python -m tests.bench            # all of it; --list, --quick, --only pgbench,idle

Each takes ``--help``; ``--seconds 3 --rounds 3 --only simple,8`` is a quick look. Results go to the terminal
as a table and to ``tests/bench/results/`` as JSON, with interpreter and CPU named. Use Debian's
``/usr/bin/python3`` (or a venv of it): an interpreter built without PGO is up to twice as slow, and the
numbers say which it was. Rounds are interleaved (every path in turn, then again), values are medians, ratios
are medians of each round's own ratio to PgBouncer, so that a busy minute hits all paths alike.
"""
