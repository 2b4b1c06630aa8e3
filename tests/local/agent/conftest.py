from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from agent_nodes import ClusterUnderTest, NodeUnderTest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., NodeUnderTest]]:
    made: list[NodeUnderTest] = []

    def make(**fields) -> NodeUnderTest:
        made.append(NodeUnderTest(tmp_path / f"n{len(made)}", **fields))
        return made[-1]

    yield make
    for node in made:
        node.clean()


@pytest.fixture
def node(make_node) -> NodeUnderTest:
    made = make_node()
    made.serve()
    return made


@pytest.fixture
def client(node):
    return node.client()


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[..., ClusterUnderTest]]:
    made: list[ClusterUnderTest] = []

    def make(num_nodes: int, **fields) -> ClusterUnderTest:
        made.append(ClusterUnderTest(tmp_path, num_nodes, **fields))
        return made[-1]

    yield make
    for cluster in made:
        cluster.clean()
