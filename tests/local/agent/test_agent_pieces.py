"""The parts of the agent that are plain computation: placement, the merged log's pieces, facts, identity."""

from __future__ import annotations

import os
import subprocess

import pytest

from jupyter_sky.agent import facts, process
from jupyter_sky.agent.merge import MAX_LINE, Merged, whole_lines, with_prefix
from jupyter_sky.agent.placement import Capacity, find_gang


def test_fractions_fill_the_fullest_device_and_add_up_exactly():
    node = Capacity(8, [0, 1])
    for _ in range(10):
        indices = node.find(0.5, 0.1)
        assert indices == [0]
        node.take(0.5, 0.1, indices)
    assert node.find(0.5, 1) == [1]
    assert node.find(4, 0) is None
    node.give_back(0.5, 0.1, [0])
    assert node.find(0.5, 0.1) == [0]
    assert node.find(0.5, 0.2) == [1]
    assert node.find(0.5, 2) is None
    assert node.could_ever_fit(8, 2)
    assert not node.could_ever_fit(8.5, 0)


def test_a_gang_needs_room_on_every_node():
    nodes = [Capacity(2, [0]), Capacity(1, [4])]
    assert find_gang(nodes, 2, 1, 1) == [[0], [4]]
    assert find_gang(nodes, 2, 2, 1) is None
    assert find_gang(nodes, 3, 1, 0) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"a\nb", 2),
        (b"a\r", 0),
        (b"a\rb", 2),
        (b"a\r\n", 3),
        (b"x" * MAX_LINE, 0),
        (b"x" * (MAX_LINE + 5), MAX_LINE),
    ],
)
def test_only_whole_lines_are_taken(data, size):
    assert whole_lines(data, final=False) == size
    assert whole_lines(data, final=True) == len(data)


def test_prefixes_stand_before_every_line():
    assert with_prefix(b"a\n\nb", b"> ") == b"> a\n> \n> b\n"
    assert with_prefix(b"a\rb\r\nc\n", b"> ") == b"> a\r> b\r\n> c\n"
    assert with_prefix(b"x" * (MAX_LINE + 1) + b"\n", b"> ") == b"> " + b"x" * MAX_LINE + b"\n> x\n"


@pytest.mark.parametrize("written", [0, 1, 7, 11])
def test_a_piece_cut_off_by_a_kill_is_finished_byte_for_byte(tmp_path, written):
    path = tmp_path / "merged.log"
    log = Merged(str(path), 2)
    log.append(1, b"one\n", b"(1) ")
    log.append(0, b"two\nthree\n", b"(0) ")
    log.close()
    whole = path.read_bytes()
    os.truncate(path, len(b"(1) one\n") + written)
    again = Merged(str(path), 2)
    assert again.unfinished() == (0, 0, 10)
    again.finish(b"two\nthree\n")
    assert path.read_bytes() == whole
    assert again.unfinished() is None
    assert (again.offset(0), again.offset(1)) == (10, 4)
    again.complete()
    again.close()
    last = Merged(str(path), 2)
    assert last.is_complete
    last.close()


def test_an_index_cut_off_by_a_kill_falls_back_to_the_piece_before(tmp_path):
    path = tmp_path / "merged.log"
    log = Merged(str(path), 1)
    log.append(0, b"one\n", b"")
    log.append(0, b"two\n", b"")  # in slot 0
    log.close()
    index = tmp_path / "merged.log.index"
    index.write_bytes(b"\xff" * 40 + index.read_bytes()[40:])
    os.truncate(path, 4)
    again = Merged(str(path), 1)
    assert (again.offset(0), again.unfinished()) == (4, None)
    again.close()


def test_what_nvidia_smi_prints_is_understood():
    text = "0, NVIDIA A100-SXM4-80GB, 81920\n1, Tesla T4, [N/A]\nwarning: something\n"
    assert facts.parse_smi(text) == [
        {"index": 0, "name": "NVIDIA A100-SXM4-80GB", "memory_mb": 81920},
        {"index": 1, "name": "Tesla T4", "memory_mb": 0},
    ]


def test_this_machine_has_something():
    assert 0 < facts.cpus() <= (os.cpu_count() or 1)
    assert facts.memory_mb() > 100
    assert isinstance(facts.gpus(), list)


def test_a_process_is_known_by_its_id_and_its_start():
    child = subprocess.Popen(["sleep", "1000"], env={"MARK": "mine"})
    try:
        start = process.identity(child.pid)
        assert process.is_alive(child.pid, start)
        assert not process.is_alive(child.pid, "0")
        procs = process.snapshot()
        assert process.marked(procs, "MARK", "mine") == {child.pid}
        assert child.pid in process.descendants(procs, [os.getpid()])
    finally:
        child.kill()
        child.wait()
    assert process.identity(child.pid) is None
    assert not process.is_alive(child.pid, start)


def test_a_command_name_may_hold_brackets():
    proc = process.parse_stat("42 (a) b (c)) S 1 40 39 " + " ".join(str(number) for number in range(7, 53)))
    assert proc is not None
    assert (proc.pid, proc.ppid, proc.pgid, proc.sid, proc.start_time) == (42, 1, 40, 39, "22")
