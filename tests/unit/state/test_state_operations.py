"""Rows of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_sky.errors import OperationNotFoundError
from jupyter_sky.state import OperationRecord, OperationStatus

if TYPE_CHECKING:
    from jupyter_sky.state import State


def operation(identity: str, **fields: object) -> OperationRecord:
    return OperationRecord(**{"id": identity, "kind": "launch", "target": "dev", "handler": "m:f", **fields})  # type: ignore[arg-type]  # the fields differ from test to test


def ended(identity: str, at: float) -> OperationRecord:
    return operation(identity, status=OperationStatus.SUCCEEDED, created_at=at, ended_at=at)


def test_what_is_stored_comes_back(state: State) -> None:
    record = operation("a", request={"x": [1, None]}, progress={"done": 1, "total": None, "unit": "nodes"})
    state.operations.add(record)
    assert state.operations.get("a") == record
    assert state.operations.get("b") is None


def test_list(state: State) -> None:
    for record in (
        ended("old", 1.0),
        operation("new", created_at=3.0),
        operation("mid", target="x", created_at=2.0),
    ):
        state.operations.add(record)

    def names(active: bool | None = None, target: str | None = None) -> list[str]:
        return [one.id for one in state.operations.list(active, target)]

    assert names() == ["new", "mid", "old"]
    assert names(active=True) == ["new", "mid"]
    assert names(active=False) == ["old"]
    assert names(active=True, target="x") == ["mid"]
    assert OperationStatus.RUNNING.active
    assert not OperationStatus.INTERRUPTED.active


def test_update(state: State) -> None:
    state.operations.add(operation("a"))
    assert state.operations.update("a", phase="provision", pid=7).phase == "provision"
    with pytest.raises(OperationNotFoundError):
        state.operations.update("b", phase="x")


def test_only_one_ends_it(state: State) -> None:
    state.operations.add(operation("a"))
    assert state.operations.end_if_active("a", status=OperationStatus.INTERRUPTED, ended_at=1.0)
    assert not state.operations.end_if_active("a", status=OperationStatus.FAILED, ended_at=2.0)
    record = state.operations.get("a")
    assert record is not None
    assert record.status is OperationStatus.INTERRUPTED


def test_prune(state: State) -> None:
    for number in range(6):
        state.operations.add(ended(f"e{number}", 100.0 + number))
    state.operations.add(operation("alive", created_at=1.0))
    assert state.operations.prune(keep=3, older_than=0.0) == ["e0", "e1", "e2"]
    assert state.operations.prune(keep=3, older_than=104.5) == ["e3", "e4"]
    assert {one.id for one in state.operations.list()} == {"e5", "alive"}
