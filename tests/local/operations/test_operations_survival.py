"""Kills at any moment: an operation survives its caller, and the truth survives the operation."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from operation_helpers import kill, process_of

from jupyter_sky.errors import OperationInterruptedError
from jupyter_sky.flows.operations import attaching, cancel, follow, get, listing, upkeep, wait
from jupyter_sky.flows.operations.folder import OperationFolder
from jupyter_sky.state import OperationRecord, OperationStatus, State

if TYPE_CHECKING:
    from pathlib import Path

    from operation_helpers import InPhase, Start

#: A caller that begins an operation, says its id, and then waits for it as a terminal would.
CALLER = """
import sys
from jupyter_sky.flows.operations import begin, wait
secrets = {"T": "a-secret-value"}
record = begin("launch", "dev", {"until": sys.argv[1]}, secrets, handler="operation_handlers:hold")
print(record.id, flush=True)
wait(record.id)
"""


def begin_elsewhere(until: Path, **options: Any) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(until)], stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ends_well(operation_id: str, until: Path) -> None:
    until.touch()
    assert wait(operation_id) == {"held": True}
    assert get(operation_id).status is OperationStatus.SUCCEEDED


def test_the_caller_is_killed(start: Start, tmp_path: Path) -> None:
    caller, operation = begin_elsewhere(tmp_path / "go")
    caller.kill()
    caller.communicate()
    ends_well(operation, tmp_path / "go")


def test_the_callers_process_group_is_interrupted(start: Start, tmp_path: Path, wait_until: Any) -> None:
    """What a notebook does to its kernel."""
    caller, operation = begin_elsewhere(tmp_path / "go", start_new_session=True, stderr=subprocess.DEVNULL)
    wait_until(lambda: get(operation).phase == "holding", 20)
    os.killpg(caller.pid, signal.SIGINT)
    caller.communicate(timeout=20)
    assert get(operation).status is OperationStatus.RUNNING
    ends_well(operation, tmp_path / "go")


def test_the_terminal_is_closed(start: Start, tmp_path: Path, wait_until: Any) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", CALLER, str(tmp_path / "go")])
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        operation = screen.readline().decode().strip()
        wait_until(lambda: get(operation).phase == "holding", 20)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGHUP
    ends_well(operation, tmp_path / "go")


@pytest.mark.parametrize("phase", ["a", "b", "c"])
def test_killed_in_a_phase(start: Start, in_phase: InPhase, tmp_path: Path, phase: str) -> None:
    phases = ["a", "b", "c"][: "abc".index(phase) + 1]
    record = start("hold", phases=phases, until=str(tmp_path / "never"))
    kill(in_phase(record, phase))
    with pytest.raises(OperationInterruptedError) as caught:
        wait(record.id)
    assert f"in phase '{phase}'" in caught.value.message
    assert record.id in caught.value.message
    assert "jupyter sky down dev" in (caught.value.hint or "")
    ended = get(record.id)
    assert ended.status is OperationStatus.INTERRUPTED
    assert ended.ended_at is not None
    assert listing() == []
    assert [event.text for event in follow(record.id) if event.kind == "end"] == ["INTERRUPTED"]
    assert cancel(record.id) is False


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4])
def test_the_process_is_killed_at_any_moment(start: Start, delay: float) -> None:
    """Whenever the kill comes, the end that is told is the one that happened."""
    record = start("greet")
    process = process_of(record.id)
    try:
        process.wait(delay)
    except psutil.TimeoutExpired:
        process.kill()
    end = list(follow(record.id))[-1].data
    known = get(record.id)
    assert (end["status"], end["result"], end["error"]) == (known.status, known.result, known.error)
    if known.status is OperationStatus.INTERRUPTED:
        assert ("never began" if known.pid is None else "ended unexpectedly") in end["error"]["message"]
    else:
        assert known.status is OperationStatus.SUCCEEDED
        assert end["result"]["request"] == {}


def test_many_readers_of_one_dead_operation(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    kill(in_phase(record, "holding"))
    ends: list[str] = []
    readers = [
        threading.Thread(target=lambda: ends.extend(event.text for event in follow(record.id)))
        for _ in range(8)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert ends.count("INTERRUPTED") == 8
    assert OperationFolder(record.id).journal.read_text().count('"end"') == 1


def test_a_journal_cut_in_the_middle_of_a_line(start: Start, in_phase: InPhase, tmp_path: Path) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    kill(in_phase(record, "holding"))
    with OperationFolder(record.id).journal.open("ab") as stream:
        stream.write(b'{"kind": "lo')
    events = list(follow(record.id))
    assert [event.text for event in events] == ["holding", "INTERRUPTED"]
    assert list(follow(record.id)) == events


def test_an_end_that_only_the_journal_has(start: Start, wait_until: Any) -> None:
    """A process that could write its end to the journal but not to the row has ended all the same."""
    record = start("greet")
    wait(record.id)
    wait_until(lambda: not OperationFolder(record.id).is_alive(), 20)
    State.open().operations.update(record.id, status=OperationStatus.RUNNING, ended_at=None, result=None)
    assert get(record.id).status is OperationStatus.SUCCEEDED
    assert wait(record.id)["request"] == {}


def test_the_caller_dies_before_it_has_given_the_secrets(start: Start, sky_home: Path) -> None:
    record = OperationRecord(id="0" * 12, kind="launch", target="dev", handler="operation_handlers:greet")
    folder = OperationFolder(record.id)
    folder.make()
    lock = folder.lock()
    State.open().operations.add(record)
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter_sky.flows.operations.process", record.id, str(lock)],
        stdin=subprocess.DEVNULL,
        pass_fds=[lock],
    )
    os.close(lock)
    with pytest.raises(OperationInterruptedError, match="never began"):
        wait(record.id)
    process.wait(20)


def test_the_caller_dies_before_there_is_a_process(start: Start, sky_home: Path) -> None:
    record = OperationRecord(id="0" * 12, kind="launch", target="dev", handler="operation_handlers:greet")
    folder = OperationFolder(record.id)
    folder.make()
    lock = folder.lock()
    State.open().operations.add(record)
    assert [one.id for one in listing()] == [record.id]
    os.close(lock)
    assert listing() == []
    with pytest.raises(OperationInterruptedError, match="never began"):
        wait(record.id)


def test_a_child_that_lives_on_does_not_keep_it_alive(
    start: Start, in_phase: InPhase, tmp_path: Path, wait_until: Any
) -> None:
    record = start("spawn_child", note=str(tmp_path / "pid"), until=str(tmp_path / "never"))
    running = in_phase(record, "child")
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    child.suspend()  # so that it does not see the end of its input, and lives on for sure
    kill(running)
    try:
        with pytest.raises(OperationInterruptedError):
            wait(record.id)
        assert child.is_running()
    finally:
        child.kill()


def test_another_process_of_its_id_is_not_cancelled(
    start: Start, in_phase: InPhase, tmp_path: Path, wait_until: Any
) -> None:
    record = start("hold", until=str(tmp_path / "never"))
    kill(in_phase(record, "holding"))
    folder = OperationFolder(record.id)
    wait_until(lambda: not folder.is_alive(), 20)
    code = "import sys; sys.stdin.read()"
    bystander = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    State.open().operations.update(record.id, pid=bystander.pid)
    assert attaching._terminate(bystander.pid, folder) is False
    assert cancel(record.id) is False
    bystander.communicate()
    assert bystander.returncode == 0


def test_old_operations_are_forgotten(start: Start, sky_home: Path, wait_until: Any) -> None:
    state = State.open()
    now = time.time()
    for number in range(upkeep.KEEP + 5):
        at = now - 1000 + number
        OperationFolder(f"old{number}").make()
        state.operations.add(
            OperationRecord(
                id=f"old{number}",
                kind="down",
                target="x",
                handler="m:f",
                status=OperationStatus.SUCCEEDED,
                created_at=at,
                ended_at=at,
            )
        )
    stray = OperationFolder("stray")
    stray.make()
    os.utime(stray.path, (now - 2 * upkeep.STRAY_SECONDS,) * 2)
    fresh = OperationFolder("fresh")
    fresh.make()
    record = start("greet")
    wait(record.id)
    wait_until(lambda: not stray.path.exists(), 20, what="the old folders to be gone")
    assert len(listing(None)) == upkeep.KEEP
    assert record.id in {one.id for one in listing(None)}
    assert not OperationFolder("old0").path.exists()
    assert OperationFolder("old100").path.exists()
    assert fresh.path.exists()
