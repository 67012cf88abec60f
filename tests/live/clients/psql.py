"""psql: the client that people use. Meta-commands, COPY both ways, large objects, cursors, ``\\c``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from ..dsn import Dsn
from . import Transcript
from .programs import postgres_program
from .programs import run as run_program

__all__ = ["run"]

SCRIPT = r"""
\set VERBOSITY verbose
SELECT current_user, session_user, current_database();
SET client_min_messages = error;
DROP SCHEMA IF EXISTS battery_psql CASCADE;
RESET client_min_messages;
CREATE SCHEMA battery_psql;
SET search_path = battery_psql;
CREATE TABLE t (id int PRIMARY KEY, name text, at timestamptz DEFAULT '2024-01-02 03:04:05+00');
INSERT INTO t (id, name) SELECT n, 'row ' || n FROM generate_series(1, 5) n RETURNING id;
SELECT * FROM t ORDER BY id;
SELECT 1 AS one \; SELECT 2 AS two \; SELECT 'three' AS three;
SELECT 1/0;
SELECT nonsense FROM t;
SELEKT 1;
;
\d t
\dt
\dn battery_psql
\df battery_psql.*
SELECT id, name FROM t WHERE id < 3 \gdesc
SELECT 'SELECT ' || n FROM generate_series(1, 3) n \gexec
DO $$ BEGIN RAISE NOTICE 'a notice, with ünïcode'; RAISE WARNING 'and a warning'; END $$;
BEGIN;
INSERT INTO t (id, name) VALUES (6, 'six');
SAVEPOINT a;
INSERT INTO t (id, name) VALUES (6, 'again');
ROLLBACK TO a;
COMMIT;
BEGIN;
SELECT 1/0;
SELECT 'ignored';
COMMIT;
COPY t (id, name) FROM STDIN;
10	ten
11	eleven\twith a tab
12	\N
\.
COPY t (id, name) FROM STDIN;
13	thirteen
not a number	x
\.
COPY (SELECT id, name FROM t ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER);
\copy t (id, name) FROM '@FOLDER@/in.csv' WITH (FORMAT csv)
\copy (SELECT id, name FROM t ORDER BY id) TO '@FOLDER@/out.csv' WITH (FORMAT csv)
\copy (SELECT id, name FROM t ORDER BY id) TO '@FOLDER@/out.bin' WITH (FORMAT binary)
\set FETCH_COUNT 7
SELECT n, repeat('x', n) FROM generate_series(1, 20) n;
\unset FETCH_COUNT
PREPARE p (int, text) AS SELECT $1 + 1, upper($2);
EXECUTE p (41, 'abc');
EXECUTE p (42, NULL);
DEALLOCATE p;
LISTEN news;
NOTIFY news, 'hello';
SELECT 'after notify';
\lo_import '@FOLDER@/blob'
SELECT length(lo_get(:LASTOID)) AS size, md5(lo_get(:LASTOID)) AS digest;
\lo_export :LASTOID '@FOLDER@/blob.out'
\lo_unlink :LASTOID
SELECT repeat('long ', 20000) AS long_text \gset
SELECT length(:'long_text');
\encoding LATIN1
SELECT 'Grüße' AS greeting;
\encoding UTF8
SET application_name = 'mine';
SHOW application_name;
\c other
SELECT current_database();
\c app
SELECT current_database();
\pset null '(null)'
SELECT NULL::text, true, 1.5::numeric, '{1,2}'::int[], '\x00ff'::bytea, 'infinity'::float8, '{"a": 1}'::jsonb;
DROP SCHEMA battery_psql CASCADE;
"""

_VARIES = [
    (re.compile(r"(server process with PID )\d+"), r"\1N"),
    (re.compile(r"(lo_(?:import|unlink) )\d+"), r"\1N"),
    (re.compile(r"^SSL connection .*\n", re.M), ""),
    (re.compile(r"^You are now connected to database \"(\w+)\".*$", re.M), r"connected to \1"),
]


def run(dsn: Dsn) -> list[tuple[str, Any]]:
    """Two passes over one script: in one connection from standard input, then a few ``-c`` runs."""
    seen = Transcript()
    psql = postgres_program("psql")
    dsn = dsn.but(application_name="battery")
    with tempfile.TemporaryDirectory(prefix="psql-") as name:
        folder = Path(name)
        (folder / "in.csv").write_text('20,"twenty, quoted"\n21,twenty-one\n')
        (folder / "blob").write_bytes(bytes(range(256)) * 300)
        done = run_program(psql, ["-X"], dsn, text=SCRIPT.replace("@FOLDER@", name))
        seen.note("out", _stable(done.text, name))
        seen.note("err", _stable(done.err, name))
        seen.note("status", done.status)
        for made in ("out.csv", "out.bin", "blob.out"):
            seen.note(made, (folder / made).read_bytes())
    for arguments in (
        ["-c", "SELECT 1; SELECT 2"],
        ["-c", "SELECT 1; SELECT 1/0; SELECT 3"],
        ["-1", "-c", "CREATE TEMP TABLE x (a int)", "-c", "INSERT INTO x VALUES (1)", "-c", "TABLE x"],
        ["-l", "-q"],
    ):
        done = run_program(psql, ["-X", "-At", *arguments], dsn)
        seen.note(" ".join(arguments), (done.status, done.text, _stable(done.err, name)))
    return seen.lines


def _stable(text: str, folder: str) -> str:
    text = text.replace(folder, "FOLDER")
    for pattern, replacement in _VARIES:
        text = pattern.sub(replacement, text)
    return text
