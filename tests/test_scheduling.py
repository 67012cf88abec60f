"""A run of several processes: each test is run once, a file's in order and in one process, whoever takes what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer

from .scheduling import FromBothEnds, live_first

LIVE = ["tests/live/test_a.py", "tests/live/test_b.py", "tests/live/test_c.py"]
OTHERS = ["tests/cli/test_d.py", "tests/test_e.py", "tests/wire/test_f.py"]
FILES = [OTHERS[0], *LIVE, *OTHERS[1:]]
TESTS = [f"{file}::test_{number}" for file in FILES for number in range(4 + (file == OTHERS[1]))]


class Node:
    """A process of the run, which does what it was sent when it is told to."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.waiting: list[int] = []
        self.done: list[str] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.waiting += numbers

    def shutdown(self) -> None:
        self.shutting_down = True

    def work(self, queue: FromBothEnds) -> None:
        number = self.waiting.pop(0)
        self.done.append(TESTS[number])
        queue.mark_test_complete(self, number)  # type: ignore[arg-type]

    @property
    def files(self) -> list[str]:
        """What it worked on, in its order."""
        return list(dict.fromkeys(each.partition("::")[0] for each in self.done))


def started(*nodes: Node) -> FromBothEnds:
    config: Any = SimpleNamespace(
        getvalue=lambda _: [f"{len(nodes)}*popen"], option=SimpleNamespace(loadscopereorder=True)
    )
    queue = FromBothEnds(config, Producer("silent", enabled=False))
    for node in nodes:
        queue.add_node(node)  # type: ignore[arg-type]
        queue.add_node_collection(node, TESTS)  # type: ignore[arg-type]
    queue.schedule()
    return queue


def test_live_files_come_first_and_the_others_as_they_were() -> None:
    assert live_first(FILES) == [*LIVE, *OTHERS]


@pytest.mark.parametrize("pace", [(1, 1), (3, 1), (1, 3), (1, 20)])
def test_the_first_takes_the_live_files_and_the_other_what_computes(pace: tuple[int, int]) -> None:
    """Two that both have servers to run would be in each other's way from the beginning."""
    nodes = Node("gw0"), Node("gw1")
    queue = started(*nodes)
    while any(node.waiting for node in nodes):
        for node, steps in zip(nodes, pace, strict=True):
            for _ in range(min(steps, len(node.waiting))):
                node.work(queue)
    first, second = (node.files for node in nodes)
    assert first == [*LIVE, *OTHERS][: len(first)]
    assert second == [*LIVE, *OTHERS][: -len(second) - 1 : -1]
    assert sorted(nodes[0].done + nodes[1].done) == sorted(TESTS)
    for node in nodes:
        assert node.done == sorted(node.done, key=lambda each: node.files.index(each.partition("::")[0]))
        assert node.shutting_down


def test_alone_it_does_everything() -> None:
    node = Node("gw0")
    queue = started(node)
    while node.waiting:
        node.work(queue)
    assert node.files == [*LIVE, *OTHERS]
    assert sorted(node.done) == sorted(TESTS)
