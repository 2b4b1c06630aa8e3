"""Cancel: once, at any moment, never in the middle of cleaning up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from operation_helpers import process_of

from jupyter_sky.errors import OperationCancelledError
from jupyter_sky.flows.operations import cancel, follow, get, wait
from jupyter_sky.state import OperationStatus

if TYPE_CHECKING:
    from pathlib import Path

    from operation_helpers import InPhase, Start


def test_in_a_phase(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    in_phase(record, "holding")
    assert cancel(record.id) is True
    with pytest.raises(OperationCancelledError, match="was cancelled in phase 'holding'") as caught:
        wait(record.id)
    assert caught.value.exit_code == 130
    assert get(record.id).status is OperationStatus.CANCELLED
    assert cancel(record.id) is False


def test_at_once(start: Start, tmp_path: Path) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    assert cancel(record.id) is True
    with pytest.raises(OperationCancelledError):
        wait(record.id)


def test_again_while_it_cleans_up(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("hold_and_clean", until=str(tmp_path / "never"), cleaned=str(tmp_path / "cleaned"))
    in_phase(record, "holding")
    assert cancel(record.id)
    in_phase(record, "cleaning")
    assert cancel(record.id)
    assert cancel(record.id)
    assert get(record.id).status is OperationStatus.RUNNING
    (tmp_path / "cleaned").touch()
    with pytest.raises(OperationCancelledError):
        wait(record.id)
    assert [event.text for event in follow(record.id)] == ["holding", "cleaning", "CANCELLED"]


def test_trouble_while_it_cleans_up_is_told(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    (tmp_path / "cleaned").touch()
    record = start(
        "hold_and_clean", until=str(tmp_path / "never"), cleaned=str(tmp_path / "cleaned"), trouble=True
    )
    in_phase(record, "holding")
    cancel(record.id)
    with pytest.raises(OperationCancelledError, match="Cleaning up met a problem: A node is left") as caught:
        wait(record.id)
    assert caught.value.hint == "Remove it."


def test_a_careless_handler_meets_it_again(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("swallow", until=str(tmp_path / "never"))
    in_phase(record, "holding")
    cancel(record.id)
    with pytest.raises(OperationCancelledError):
        wait(record.id)
    assert "swallowed" in [event.text for event in follow(record.id)]


def test_while_it_reports_all_the_time(start: Start, in_phase: InPhase, wait_until: Any) -> None:
    """The journal stays whole: no line is cut or doubled by the exception that breaks in."""
    record = start("count", to=100_000_000)
    in_phase(record, "counting")
    cancel(record.id)
    with pytest.raises(OperationCancelledError):
        wait(record.id)
    done = [event.data["done"] for event in follow(record.id) if event.kind == "progress"]
    assert done == sorted(set(done))


def test_while_it_waits_for_a_lock(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    holder = start("inside_lock", until=str(tmp_path / "go"))
    in_phase(holder, "inside")
    waiter = start("inside_lock", until=str(tmp_path / "go"))
    in_phase(waiter, "waiting")
    cancel(waiter.id)
    with pytest.raises(OperationCancelledError):
        wait(waiter.id)
    (tmp_path / "go").touch()
    wait(holder.id)


def test_a_stopped_process_hears_it_later(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    in_phase(record, "holding")
    process = process_of(record.id)
    process.suspend()
    assert cancel(record.id) is True
    assert get(record.id).status is OperationStatus.RUNNING
    process.resume()
    with pytest.raises(OperationCancelledError):
        wait(record.id)
