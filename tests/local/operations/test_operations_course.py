"""The course of an operation: begin, follow, wait, and the errors that come back."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jupyter_sky.errors import (
    OperationError,
    OperationNotFoundError,
    StateError,
    UsageError,
)
from jupyter_sky.flows.operations import begin, cancel, follow, get, listing, wait
from jupyter_sky.flows.operations.folder import OperationFolder
from jupyter_sky.state import OperationStatus

if TYPE_CHECKING:
    from pathlib import Path

    from operation_helpers import InPhase, Start


class Listener:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.heard.append(("phase", name, detail))

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        self.heard.append(("progress", done, total, unit))

    def log(self, text: str) -> None:
        self.heard.append(("log", text))


def test_from_begin_to_end(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the person was imported')")
    record = start("greet", secrets={"A": "value-of-a"}, x=[1, None, "ü"])
    assert record.status is OperationStatus.PENDING
    listener = Listener()
    result = wait(record.id, listener)
    assert result == {
        "request": {"x": [1, None, "ü"]},
        "names": ["A"],
        "pid": get(record.id).pid,
        "cwd": str(tmp_path),
    }
    assert listener.heard == [("phase", "first", "a beginning"), ("log", "hello"), ("phase", "second", "")]
    ended = get(record.id)
    assert ended.status is OperationStatus.SUCCEEDED
    assert ended.phase == "second"
    assert ended.result == result
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert record.created_at <= ended.started_at <= ended.ended_at
    assert listing() == []
    assert listing(False) == listing(None) == [ended]
    assert cancel(record.id) is False


def test_journal_is_replayed_to_who_comes_late(start: Start) -> None:
    record = start("greet")
    wait(record.id)
    events = list(follow(record.id))
    assert [event.kind for event in events] == ["phase", "log", "phase", "end"]
    assert [event.kind for event in follow(record.id, from_start=False)] == ["end"]
    assert events == list(follow(record.id))
    assert wait(record.id)["request"] == {}


def test_following_from_now_begins_with_the_present_phase(
    start: Start, in_phase: InPhase, tmp_path: Path
) -> None:
    record = start("hold", phases=["a", "b"], until=str(tmp_path / "go"))
    in_phase(record, "b")
    events = follow(record.id, from_start=False)
    assert next(events).text == "b"
    (tmp_path / "go").touch()
    assert [event.kind for event in events] == ["end"]


def test_two_waiters(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("hold", until=str(tmp_path / "go"))
    results: list[dict[str, Any]] = []
    waiters = [threading.Thread(target=lambda: results.append(wait(record.id))) for _ in range(2)]
    for waiter in waiters:
        waiter.start()
    in_phase(record, "holding")
    (tmp_path / "go").touch()
    for waiter in waiters:
        waiter.join(20)
    assert results == [{"held": True}] * 2


def test_begin_in_a_thread_and_in_a_running_loop(start: Start) -> None:
    begun: list[str] = []
    thread = threading.Thread(target=lambda: begun.append(start("greet").id))
    thread.start()
    thread.join(20)

    async def in_a_loop() -> None:
        begun.append(start("greet").id)
        wait(begun[-1])

    asyncio.run(in_a_loop())
    assert [wait(operation)["names"] for operation in begun] == [[], []]


def test_an_error_for_the_person_comes_back_whole(start: Start) -> None:
    record = start("refuse")
    with pytest.raises(OperationError) as caught:
        wait(record.id)
    error = caught.value
    assert (error.code, error.exit_code) == ("provision", 3)
    assert error.message == "No node of that kind is left."
    assert error.hint == "Try another zone."
    ended = get(record.id)
    assert ended.status is OperationStatus.FAILED
    assert ended.error == {
        "code": "provision",
        "message": error.message,
        "hint": error.hint,
        "exit_code": 3,
    }


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("stumble", "ValueError: a defect near nothing"),
        ("leave", "SystemExit: 3"),
        ("give_nonsense", "TypeError: Object of type object is not JSON serializable"),
        ("no_such_function", "has no attribute 'no_such_function'"),
    ],
)
def test_a_defect_is_told_shortly_and_kept_in_full(start: Start, handler: str, said: str) -> None:
    record = start(handler)
    with pytest.raises(OperationError) as caught:
        wait(record.id)
    output = OperationFolder(record.id).output
    assert caught.value.code == "internal"
    assert said in caught.value.message
    assert "Traceback" not in caught.value.message
    assert str(output) in (caught.value.hint or "")
    assert "Traceback" in output.read_text()


def test_progress_is_thinned_but_its_last_word_is_kept(start: Start) -> None:
    record = start("count", to=20_000)
    wait(record.id)
    events = list(follow(record.id))
    progress = [event for event in events if event.kind == "progress"]
    seconds = events[-1].at - events[0].at
    assert len(progress) <= 2 + seconds * 10
    assert progress[-1].data == {"done": 20_000, "total": 20_001, "unit": "files"}
    assert [event.text for event in events if event.kind == "phase"] == ["counting", "done"]


def test_the_row_tells_of_progress_in_a_long_phase(start: Start, tmp_path: Path, wait_until: Any) -> None:
    record = start("advance", until=str(tmp_path / "go"))
    first = get(record.id).heartbeat_at
    progress = wait_until(lambda: get(record.id).progress, 20, what="progress in the row")
    assert progress == {"done": 3, "total": None, "unit": "nodes"}
    assert (get(record.id).heartbeat_at or 0.0) > (first or 0.0)
    (tmp_path / "go").touch()
    wait(record.id)


def test_unknown_things(sky_home: Path) -> None:
    with pytest.raises(UsageError, match="no operation 'dance'"):
        begin("dance", "dev", {})
    for ask in (get, wait, cancel, lambda identity: next(follow(identity))):
        with pytest.raises(OperationNotFoundError, match="'feedbeef'"):
            ask("feedbeef")


def test_every_file_is_private(start: Start) -> None:
    before = os.umask(0)
    try:
        record = start("greet")
        wait(record.id)
    finally:
        os.umask(before)
    folder = OperationFolder(record.id).path
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_nothing_is_left_of_the_process(start: Start, wait_until: Any) -> None:
    pid = wait(start("greet").id)["pid"]
    wait_until(lambda: not psutil.pid_exists(pid), 20, what="the process to be gone, not even a zombie")


def test_no_process_can_be_started(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with pytest.raises(OperationError, match="No process could be started"):
        start("greet")
    (record,) = listing(None)
    assert record.status is OperationStatus.FAILED
    with pytest.raises(OperationError, match="No such file"):
        wait(record.id)


def test_the_home_is_not_writable(start: Start, sky_home: Path) -> None:
    (sky_home / "operations").write_text("a file where a folder should be")
    with pytest.raises(StateError, match="cannot be written") as caught:
        start("greet")
    assert str(sky_home / "operations") in caught.value.message
    assert listing(None) == []
    (sky_home / "operations").unlink()
