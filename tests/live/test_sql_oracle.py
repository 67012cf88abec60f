"""PostgreSQL itself is the judge of where statements end: results counted against ours."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

from hoopproxy.protocols.postgres.sql import UNCLASSIFIED, denies, statements

pytestmark = pytest.mark.live

FRAGMENTS = [
    "'", "''", "'a'", '"a"', '"', "$$", "$a$", "$$x$$", "--", "/*", "*/", "\n", ";", "; ", "E'", "E'\\''", "\\'", "\\",
    "U&'x'", "B'1'", "N'a'", "x'1f'", "1", "a", "+", "-", "*", "/", " AS b ", " AS ", "e", "$1", "a$b$", ",", "(", ")",
    "SELECT ", "SELECT 1", "::text", "||", "\r", " ",
]  # fmt: skip
HEADS = ["1", "'a'", "'", "E'", "$$", "1--", "1/*", '"a" FROM (SELECT 1 AS a) q']
TAILS = ["", "'", "\n", ";SELECT 2", "*/", "$$", "\n;SELECT 3"]


@pytest.mark.parametrize("conforming", [True, False])
def test_every_text_that_the_server_accepts_has_as_many_statements_as_results(
    postgres15: Any, conforming: bool
) -> None:
    """A statement that only the server sees is one that no deny list refuses."""
    source = random.Random(11)
    accepted, wrong = 0, []
    with psycopg.connect(postgres15.dsn().conninfo, autocommit=True) as connection:
        server = connection.pgconn
        server.exec_(f"SET standard_conforming_strings = {'on' if conforming else 'off'}".encode())
        for _ in range(8000):
            middle = "".join(source.choice(FRAGMENTS) for _ in range(source.randrange(1, 9)))
            text = f"SELECT {source.choice(HEADS)}{middle}{source.choice(TAILS)}".encode()
            server.send_query(text)
            results = []
            while (result := server.get_result()) is not None:
                results.append(result.status)
            if ExecStatus.FATAL_ERROR in results:
                continue
            accepted += 1
            told = statements(text, standard_conforming_strings=conforming)
            count = sum(status != ExecStatus.EMPTY_QUERY for status in results)
            if len(told) != count or any(UNCLASSIFIED in each.verbs for each in told):
                wrong.append((text, count, told))
    assert wrong == []
    assert accepted > 500


INSIDE = [
    ("DELETE", "CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM u"),
    ("DELETE", "CREATE RULE r AS ON INSERT TO t DO INSTEAD (INSERT INTO u VALUES (1); DELETE FROM u)"),
    ("UPDATE", "CREATE RULE r AS ON DELETE TO t WHERE old.a > (SELECT 1 AS do) DO INSERT INTO u VALUES (1) "
               "ON CONFLICT (a) DO UPDATE SET a = 2"),
    ("DELETE", "CREATE OR REPLACE RULE r AS ON INSERT TO t DO (((SELECT 1) UNION (SELECT 2));; DELETE FROM u;)"),
    ("NOTIFY", "CREATE RULE r AS ON UPDATE TO t DO ALSO NOTIFY x"),
    ("UPDATE", "CREATE RULE r AS ON DELETE TO t WHERE old.do > 1 DO ALSO UPDATE u SET a = 1"),
    ("GRANT", "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC"),
    ("GRANT", "ALTER DEFAULT PRIVILEGES IN SCHEMA revoke GRANT SELECT ON TABLES TO PUBLIC"),
    ("REVOKE", "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"),
    ("GRANT", "CREATE SCHEMA s CREATE TABLE x (a int) GRANT SELECT ON x TO PUBLIC"),
    ("GRANT", "CREATE SCHEMA s CREATE VIEW x AS WITH w AS (SELECT 1) SELECT 1 GRANT SELECT ON x TO PUBLIC"),
    ("CREATE INDEX", "CREATE SCHEMA s CREATE TABLE x (a int) CREATE UNIQUE INDEX i ON x (a)"),
    ("CREATE TRIGGER", "CREATE SCHEMA s CREATE TABLE x (a int) CREATE TRIGGER i BEFORE UPDATE ON x EXECUTE FUNCTION "
                       "suppress_redundant_updates_trigger()"),
    ("DELETE", "PREPARE p (int) AS DELETE FROM t"),
    ("DELETE", "EXPLAIN (ANALYZE) DELETE FROM t"),
    ("DELETE", "EXPLAIN ANALYZE CREATE TABLE x AS WITH w AS (DELETE FROM t RETURNING 1) SELECT 1"),
    ("EXECUTE", "PREPARE p AS SELECT 1; CREATE TABLE x AS EXECUTE p"),
    ("DELETE", "COPY (DELETE FROM t RETURNING a) TO STDOUT"),
    ("UPDATE", "COPY (WITH w AS (UPDATE t SET a = 1 RETURNING 1) SELECT 1) TO STDOUT"),
    ("DELETE", "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE"),
    ("INSERT", "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT VALUES (1)"),
    ("UPDATE", "INSERT INTO u VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1"),
    ("DELETE", "WITH w AS (DELETE FROM t RETURNING a) INSERT INTO u SELECT a FROM w"),
    ("SELECT", "DECLARE c CURSOR FOR SELECT 1"),
    ("CREATE TABLE", "SELECT 1 INTO x"),
    ("DELETE", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; SELECT 1; END"),
    ("UPDATE", "CREATE PROCEDURE f() BEGIN ATOMIC UPDATE t SET a = 1; END"),
]  # fmt: skip
"""Statements that do, or store, what the entry denies."""

OUTSIDE = [
    ("DELETE", "DO $$ BEGIN DELETE FROM t; END $$"),
    ("DELETE", "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM t'"),
    ("DELETE", "CREATE TRIGGER i AFTER UPDATE ON t EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
    ("SELECT", "INSERT INTO t SELECT 1"),
    ("SELECT", "CREATE VIEW x AS SELECT * FROM t"),
    ("SELECT", "CREATE TABLE x AS SELECT * FROM t"),
    ("SELECT", "CREATE MATERIALIZED VIEW x AS SELECT * FROM t"),
    ("DELETE", "EXPLAIN DELETE FROM t"),
    ("DELETE", "TRUNCATE t"),
    ("GRANT", "CREATE ROLE denied_oracle IN ROLE pg_monitor"),
]
"""Statements that the docs say an entry doesn't refuse."""


@pytest.mark.parametrize(("entry", "text"), [*INSIDE, *OUTSIDE])
def test_what_a_statement_holds_counts_where_the_docs_say_so(postgres15: Any, entry: str, text: str) -> None:
    """The server takes each of them, so none is refused for a reason of ours alone."""
    with psycopg.connect(postgres15.dsn().conninfo) as connection:
        connection.execute(
            'CREATE TABLE t (a int, "do" int); CREATE TABLE u (a int UNIQUE); CREATE SCHEMA revoke'
        )
        server = connection.pgconn
        server.send_query(text.encode())
        while (result := server.get_result()) is not None:
            assert result.status != ExecStatus.FATAL_ERROR, result.error_message
            if result.status == ExecStatus.COPY_OUT:
                while server.get_copy_data(0)[0] > 0:
                    pass
        connection.rollback()
    refused = [denies(each.verbs, frozenset({entry})) for each in statements(text.encode())]
    assert any(refused) == ((entry, text) in INSIDE)
