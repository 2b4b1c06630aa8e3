"""Which process is which: identity, ancestry and ending of processes, without a library.

A process id alone names nothing, because the system uses it again. Everything here pairs it with the time the
process started and, where files outlive the machine's uptime, with the boot id. Linux answers from `/proc`;
other systems answer from `ps`, more slowly and without environments. This module knows no job and no node:
callers say what they look for.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Set

LINUX = sys.platform.startswith("linux")
_PR_SET_CHILD_SUBREAPER = 36


class Proc(NamedTuple):
    """One process as the system sees it now: ids of itself, its parent, its group and its session."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    start_time: str
    zombie: bool


def boot_id() -> str:
    """Give a word that changes when the machine restarts."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        pass
    out = _output(["sysctl", "-n", "kern.boottime"])
    return "".join(c for c in out.split("}")[0] if c.isdigit()) or "unknown"


def parse_stat(text: str) -> Optional[Proc]:
    """Read a line of `/proc/<pid>/stat`; the command name in it may hold spaces and brackets."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    if len(fields) < 20:
        return None
    pid = int(head.split(None, 1)[0])
    return Proc(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[19], fields[0] in "ZX")


def inspect(pid: int) -> Optional[Proc]:
    """Look at one process; None where there is none."""
    if not LINUX:
        for proc in _snapshot_ps(["-p", str(pid)]):
            return proc
        return None
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_stat(file.read())
    except OSError:
        return None


def identity(pid: int) -> Optional[str]:
    """Give the start time of a living process as a word, or None where no such process lives.

    On Linux it is the clock ticks after boot (field 22 of `/proc/<pid>/stat`), elsewhere the start as `ps`
    prints it.
    """
    proc = inspect(pid)
    return None if proc is None or proc.zombie else proc.start_time


def is_alive(pid: int, start_time: Optional[str]) -> bool:
    """Say whether the process that had this id and this start time still lives."""
    return start_time is not None and identity(pid) == start_time


def snapshot() -> List[Proc]:
    """Look at every process of the machine (of this process namespace)."""
    if not LINUX:
        return _snapshot_ps(["-A"])
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            proc = inspect(int(name))
            if proc is not None:
                found.append(proc)
    return found


def environ(pid: int) -> Optional[Dict[str, str]]:
    """Give the environment a process was started with; None where it cannot be seen."""
    raw = _raw_environ(pid)
    if raw is None:
        return None
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}


def marked(procs: Iterable[Proc], name: str, value: str) -> Set[int]:
    """Give those of `procs` whose environment at their start held `name=value`."""
    wanted = os.fsencode(f"{name}={value}")
    return {proc.pid for proc in procs if wanted in (_raw_environ(proc.pid) or b"").split(b"\0")}


def descendants(procs: Iterable[Proc], roots: Iterable[int]) -> Set[int]:
    """Give every process below `roots`, by parentage as it is now."""
    children: Dict[int, List[int]] = {}
    for proc in procs:
        children.setdefault(proc.ppid, []).append(proc.pid)
    found: Set[int] = set()
    todo = list(roots)
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in found:
                found.add(pid)
                todo.append(pid)
    return found


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each process; one that is gone or not ours is passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def send_group(pgid: int, number: int) -> bool:
    """Send a signal to a process group; False where the group is empty. Signal 0 only asks."""
    try:
        os.killpg(pgid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def become_subreaper() -> bool:
    """Make processes that lose their parent below this one its children (Linux); False where it cannot be."""
    if not LINUX:
        return False
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def end_blocking(find: Callable[[], Set[int]], grace: float) -> Set[int]:
    """End whatever `find` gives: TERM, then KILL after `grace` seconds, until it gives nothing.

    Returns what would not end within ten seconds after the KILL (a process stuck in the kernel). It blocks,
    and is for programs without an event loop; the agent itself has its own, which reaps meanwhile.
    """
    number = signal.SIGTERM
    kill_at = time.monotonic() + grace
    give_up = kill_at + 10
    told: Set[int] = set()
    while True:
        left = find()
        if not left or time.monotonic() > give_up:
            return left
        if time.monotonic() >= kill_at:
            number = signal.SIGKILL
            told.clear()
        send(left - told, number)
        told |= left
        time.sleep(0.02)


def _raw_environ(pid: int) -> Optional[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM):
            raise
        return None


def _snapshot_ps(which: List[str]) -> List[Proc]:
    found = []
    for line in _output(["ps", "-o", "pid=,ppid=,pgid=,sess=,stat=,lstart=", *which]).splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6:
            pid, ppid, pgid = (int(field) for field in fields[:3])
            # `sess` is an address on macOS; there the group stands in for the session.
            sid = int(fields[3]) if fields[3].isdigit() else pgid
            found.append(Proc(pid, ppid, pgid, sid, " ".join(fields[5].split()), "Z" in fields[4]))
    return found


def _output(argv: List[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
