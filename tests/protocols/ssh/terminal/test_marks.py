"""What shells say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.terminal.marks import Mark, read


@pytest.mark.parametrize(
    ("osc", "mark"),
    [
        (b"133;A", Mark("prompt")),
        (b"133;A;cl=m;aid=3", Mark("prompt")),
        (b"133;A;k=s", Mark("continuation")),
        (b"133;B", Mark("input")),
        (b"133;C", Mark("output")),
        (b"133;C;cmdline_url=ls%20%3B", Mark("output", b"ls ;")),
        (b"133;C;cmdline=ls\\ -l", Mark("output", b"ls -l")),
        (b"133;D;1", Mark("done", None, 1)),
        (b"133;D", Mark("done")),
        (b"133;D;x", Mark("done")),
        (b"633;E;echo a\\x3b b\\\\n;nonce", Mark("line", b"echo a; b\\n")),
        (b"633;P;Cwd=/a\\x3bb", Mark("directory", b"/a;b")),
        (b"633;P;Other=1", None),
        (b"7;file://host/a%20b", Mark("directory", b"/a b")),
        (b"1337;CurrentDir=/x", Mark("directory", b"/x")),
        (b"0;title", None),
        (b"52;c;aGk=", None),
    ],
)
def test_a_mark_is_read(osc: bytes, mark: Mark | None) -> None:
    """Each terminal's own way to say the same."""
    assert read(osc) == mark


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"133;", b"633;", b"633;E;", b"133;C;cmdline=", b"7;", b"133;D;"]),
)
def test_garbage_is_no_mark_and_does_no_harm(data: bytes, before: bytes) -> None:
    """Whatever is between the ends of a sequence."""
    read(before + data)
