"""PostgreSQL itself is the judge of the binary decoders: the output functions against our text of binary ``v``."""

# ruff: noqa: E501 (a table of samples reads better in few lines)

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from hoopproxy.protocols.postgres.types import decode

pytestmark = pytest.mark.live

ODD = [
    "a", "", " ", "NULL", "null", 'q"q', "b\\s", "{x}", "a,b", "(p)", "[s]", "x;y", "tab\t", "ü€😀", "'", "\v",
]  # fmt: skip
SAMPLES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "bytea": ["\\x", "\\x00ff5c27"],
    '"char"': ["a", "", " "],
    "name": ["n", "x y"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["0", "4294967295"],
    "xid": ["3"], "cid": ["3"], "xid8": ["18446744073709551615"], "tid": ["(1,2)", "(4294967295,65535)"],
    "text": ODD, "varchar": ODD, "bpchar": ["ab  "], "refcursor": ["c"],
    "json": ['{"a": 1}'], "jsonb": ['{"a": [1, null, "x"]}'], "jsonpath": ["$.a[*]"], "xml": ["<a>ü</a>"],
    "float4": ["0", "-0", "NaN", "Infinity", "-Infinity", "1e6", "999999", "1e5", "0.0001", "0.00001", "1.1754944e-38",
               "1e-45", "3.4028235e38", "16777216", "33554432", "0.1", "123456.7"],
    "float8": ["0", "-0", "NaN", "Infinity", "-Infinity", "1e15", "999999999999999", "1e14", "0.0001", "0.00001", "5e-324",
               "1.7976931348623157e308", "5.684341886080802e-14", "9007199254740993", "1e23", "0.1",
               "123456789012345.6", "2.2250738585072014e-308"],
    "numeric": ["0", "0.00", "-1.50", "NaN", "Infinity", "-Infinity", "12345678901234567890.123456789", "1e-20", "1e100",
                "0.0001", "0.00001", "10000", "99999999", "1000000000000.0001", "1e1000", "-0.10"],
    "date": ["2000-01-01", "1999-12-31", "infinity", "-infinity", "4713-01-01 BC", "0001-01-01", "0001-12-31 BC",
             "5874897-12-31", "2024-02-29", "10000-01-01"],
    "time": ["00:00", "24:00", "23:59:59.999999", "12:00:00.1"],
    "timetz": ["00:00+00", "12:34:56.7-03:30", "24:00+15:59:59", "12:00-15:59"],
    "timestamp": ["2000-01-01", "infinity", "-infinity", "1999-12-31 23:59:59.999999", "4713-01-01 BC",
                  "0044-03-15 12:00 BC", "294276-12-31 23:59:59.999999"],
    "timestamptz": ["2000-01-01 00:00+05", "infinity", "-infinity", "0044-03-15 12:00+00 BC", "2024-06-01 12:00:00.5+00"],
    "interval": ["0", "1 year", "-1 year", "1 year -1 mon", "-1 mon +3 days", "1 day -00:00:01", "-1 day 1 sec", "13 mons",
                 "-13 mons 2 days -3:04:05.678", "-2147483648 days", "178000000 years", "100:00:00", "-0.000001 sec",
                 "1 mon -1 day +2 sec"],
    "uuid": ["00000000-0000-0000-0000-000000000001"],
    "inet": ["1.2.3.4", "1.2.3.4/8", "::", "::1", "::5", "::1:0", "::1.2.3.4", "::ffff:1.2.3.4", "1:0:0:2::3", "fe80::1/64",
             "1:0:2:3:4:5:6:7", "::ffff:0:0", "1::", "0:0:1::"],
    "cidr": ["10.0.0.0/8", "1.2.3.4/32", "::/0", "2001:db8::/32", "::1/128"],
    "macaddr": ["08:00:2b:01:02:03"], "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(5)": ["10101"], "varbit": ["", "1", "101010101"],
    "point": ["(1,2)", "(-0.5,1e300)"], "lseg": ["[(0,0),(1,1)]"], "line": ["{1,-1,0.5}"], "box": ["(2,2),(0,0)"],
    "path": ["((0,0),(1,1))", "[(0,0),(1,1)]"], "polygon": ["((0,0),(1,1),(2,0))"], "circle": ["<(1,2),3.5>"],
    "pg_lsn": ["0/0", "16/B374D848"], "tsvector": ["a:1A,2B,3C,4 'it''s' b\\\\c"],
    "int4range": ["[1,5)", "empty", "(,)", "[,5)", "[1,)"], "int8range": ["[1,5)"], "numrange": ["(1.5,2.5]"],
    "daterange": ["[2000-01-01,infinity]"], "tsrange": ["[2000-01-01,2001-01-01)"],
    "tstzrange": ["[2000-01-01 00:00+00,)"],
    "int4multirange": ["{}", "{[1,2),[5,6)}"], "nummultirange": ["{(1.5,2.5]}"],
    "tsmultirange": ["{[2000-01-01,2001-01-01)}"],
    "int2vector": ["1 2 3"], "oidvector": ["1 2"],
    "int4[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}", "[2:2][-1:0]={{1,2}}", "{{{1}},{{2}}}"],
    "box[]": ["{(1,1),(0,0);(2,2),(1,1)}"], "int4range[]": ['{"[1,2)",empty}'], "bytea[]": ['{"\\\\x00"}'],
    "timestamptz[]": ['{"2000-01-01 00:00+00"}'], "jsonb[]": ['{"{\\"a\\": 1}"}'],
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(postgres15: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres15.dsn().conninfo, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        conn.execute("SET client_encoding = 'UTF8'")
        yield conn


def compare(connection: psycopg.Connection[Any], expression: str, parameters: list[Any]) -> list[str]:
    """What differs: ours, then the server's."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(f"SELECT v, format('%%s', v) FROM (SELECT {expression} AS v) AS x", parameters)
        result = cursor.pgresult
        assert result is not None
        differing = []
        for row in range(result.ntuples):
            raw, expected = result.get_value(row, 0), result.get_value(row, 1)
            assert result.fformat(0) == 1
            ours = decode(result.ftype(0), 1, raw, "UTF8")
            theirs = None if expected is None else expected.decode()
            if ours != theirs:
                differing.append(f"{expression} {parameters}: ours {ours!r}, the server's {theirs!r}")
    return differing


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_prints_as_the_server_prints_it(connection: psycopg.Connection[Any], name: str) -> None:
    """A wrong decoder would put a parameter on record that was never sent."""
    wrong = [line for value in SAMPLES[name] for line in compare(connection, f"%s::text::{name}", [value])]
    assert wrong == []


@pytest.mark.parametrize("name", ["text", "varchar", "name"])
def test_odd_elements_of_arrays_and_records_are_quoted_as_the_server_does(
    connection: psycopg.Connection[Any], name: str
) -> None:
    wrong = compare(connection, f"%s::text[]::{name}[]", [ODD])
    wrong += [line for odd in ODD for line in compare(connection, f"ROW(%s::text::{name}, 1, NULL)", [odd])]
    wrong += compare(connection, "ROW(ROW(1,'a b'), ARRAY[ROW(2,'x\"')])", [])
    assert wrong == []


def test_random_floats_print_as_the_server_prints_them(connection: psycopg.Connection[Any]) -> None:
    source = random.Random(7)
    doubles = [struct.unpack("!d", source.randbytes(8))[0] for _ in range(2000)]
    doubles += [2.0**power for power in range(-1074, 1024, 3)] + [10.0**p for p in range(-20, 25)]
    singles = [struct.unpack("!f", source.randbytes(4))[0] for _ in range(2000)]
    singles += [2.0**power for power in range(-149, 128)]
    wrong = compare(connection, "unnest(%s::text[])::float8", [[repr(value) for value in doubles]])
    wrong += compare(connection, "unnest(%s::text[])::float4", [[repr(value) for value in singles]])
    assert wrong[:5] == []


def test_random_numbers_and_times_print_as_the_server_prints_them(
    connection: psycopg.Connection[Any],
) -> None:
    source = random.Random(8)
    numbers = [
        f"{source.randrange(-(10 ** source.randrange(1, 40)), 10**30)}.{'0' * source.randrange(9)}{source.getrandbits(60)}"
        for _ in range(500)
    ]
    wrong = compare(connection, "unnest(%s::text[])::numeric", [numbers])
    wrong += compare(connection, "'4713-01-01 BC'::date + unnest(%s::int[])",
                     [[source.randrange(2_000_000_000 // 1000) for _ in range(500)]])  # fmt: skip
    seconds = [source.randrange(-210_000_000_000, 9_000_000_000_000) + source.random() for _ in range(500)]
    wrong += compare(connection, "to_timestamp(unnest(%s::float8[]))", [seconds])
    wrong += compare(connection, "to_timestamp(unnest(%s::float8[]))::timestamp", [seconds])
    parts = [
        f"{source.randrange(-99999, 99999)} mons {source.randrange(-9999, 9999)} days {source.uniform(-1e6, 1e6):.6f} secs"
        for _ in range(500)
    ]
    wrong += compare(connection, "unnest(%s::text[])::interval", [parts])
    wrong += compare(
        connection, "'::'::inet + unnest(%s::int8[])", [[source.getrandbits(50) for _ in range(200)]]
    )
    addresses = [":".join(source.choice(["0", "0", "0", "ffff", "1"]) for _ in range(8)) for _ in range(300)]
    wrong += compare(connection, "unnest(%s::text[])::inet", [addresses])
    assert wrong[:5] == []
