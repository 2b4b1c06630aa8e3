"""Running one rank of a job on this node, so that it needs no agent to go on.

A phase (`setup`, then `run`) is one process in a session of its own: a small shell wrapper around the job's
script. The wrapper claims the phase, writes down who it is, runs the script with its output straight in the
rank's log, and writes down the exit code. An agent that was killed in the meantime reads these files and
knows the truth; a phase is never started twice, because the claim is a file that only one wrapper can create.

The script on disk and the wrapper's arguments hold nothing secret; secrets are in the process's environment
only. This module knows its own node and nothing of the other ranks.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Set, Tuple

from . import process
from .children import GRACE, Children
from .logs import LogSource
from .node import JOB_MARK, KEEPER_MARK, NODE_MARK, Node, write_file
from .signals import Signal

if TYPE_CHECKING:
    from .journal import Journal

PHASES = ("setup", "run")

#: Arguments: the claim file, the exit code's file, where the log stands, the interpreter, the script.
#: A trap lets the wrapper outlive the TERM of its group; an ignored signal the script would inherit.
_WRAPPER = """\
set -C
{ true > "$1"; } 2>/dev/null || exit 119
set +C
boot=-
if [ -r "/proc/$$/stat" ]; then
  read -r boot < /proc/sys/kernel/random/boot_id
  read -r stat < "/proc/$$/stat"
else
  stat=$(ps -o lstart= -p $$)
fi
printf '%s\\n' "$$ $3 $boot $stat" > "$1"
trap : HUP INT TERM
"$4" "$5"
code=$?
printf '%s\\n' "$code" > "$2"
exit "$code"
"""

#: What of the agent's own environment is not for its jobs: it describes the agent's process, not the node.
_NOT_INHERITED = ("VIRTUAL_ENV", "PWD", "OLDPWD", "SHLVL", "_", "PYTHONHOME", "PYTHONPATH")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CLAIM_LIMIT = 2.0


class RunError(Exception):
    """A phase could not be started; the message says why, for the person."""


class Outcome(NamedTuple):
    """How a phase ended: its exit code (128 + signal where one ended it), or None and why it is unknown."""

    code: Optional[int]
    reason: Optional[str] = None


class _Run:
    """One phase on this node. `log_offset` is where its output begins in the rank's log, in bytes."""

    def __init__(self, pid: int, start_time: Optional[str], log_offset: int) -> None:
        self.pid = pid
        self.start_time = start_time
        self.log_offset = log_offset
        self.watcher: Optional[asyncio.Task[Outcome]] = None


class _Claim(NamedTuple):
    pid: int
    log_offset: int
    boot: str
    start_time: str


class Runner:
    """Starts, watches and ends the phases of jobs on this node."""

    def __init__(self, node: Node, children: Children, journal: Journal) -> None:
        self._node = node
        self._children = children
        self._journal = journal
        self._runs: Dict[Tuple[int, str], _Run] = {}
        self._lock = asyncio.Lock()
        self._ending: Set[int] = set()
        #: fired when a job has ended here
        self.changed = Signal()
        self._boot = process.boot_id()
        self._interpreter: Optional[str] = None

    def log_path(self, job_id: int) -> str:
        """Give the file that holds what this node's rank of the job printed."""
        return self._node.job_path(job_id, f"rank-{self._node.rank}.log")

    def has_ended(self, job_id: int) -> bool:
        """Say whether the job is over on this node, so that its log grows no more."""
        return os.path.exists(self._node.job_path(job_id, "ended"))

    def is_known(self, job_id: int) -> bool:
        """Say whether anything of the job was ever started here."""
        return os.path.exists(self._node.job_path(job_id))

    def log(self, job_id: int) -> LogSource:
        """Give the log of this node's rank of the job, which is over when the job has ended here."""
        return LogSource(self.log_path(job_id), lambda: self.has_ended(job_id), self.changed)

    def starts(self, job_id: int) -> List[Tuple[int, int]]:
        """Give for each phase that was started where its output begins (bytes), and its process id."""
        found = []
        for phase in PHASES:
            path = self._node.job_path(job_id, f"{phase}.claim")
            run = self._runs.get((job_id, phase)) or _parse_claim(_text(path))
            if run is not None:
                found.append((run.log_offset, run.pid))
        return found

    async def start(self, job_id: int, phase: str, script: str, env: Dict[str, str]) -> Dict[str, int]:
        """Start a phase, or find it where it was started before; give its `pid` and `log_offset`.

        Parameters
        ----------
        script
            Shell text; it is written to a file and must hold no secret.
        env
            What the job sees beyond the small base every process of the node has; never written anywhere.

        Raises
        ------
        RunError
            The phase could not be started; nothing runs.
        """
        async with self._lock:
            run = await self._known(job_id, phase)
            if run is None:
                if job_id in self._ending or self.has_ended(job_id):
                    raise RunError("the job is being ended")
                try:
                    run = self._spawn(job_id, phase, script, env)
                except (OSError, ValueError) as error:
                    raise RunError(_explain(error)) from None
                run.watcher = asyncio.ensure_future(self._watch_child(job_id, phase, run))
                self._runs[job_id, phase] = run
            return {"pid": run.pid, "log_offset": run.log_offset}

    async def find(self, job_id: int, phase: str) -> Optional[Dict[str, int]]:
        """Give what `start` gave for a phase that was started, by this agent or an earlier one; else None."""
        async with self._lock:
            run = await self._known(job_id, phase)
        return None if run is None else {"pid": run.pid, "log_offset": run.log_offset}

    async def wait(self, job_id: int, phase: str) -> Outcome:
        """Wait until a phase has ended and say how."""
        async with self._lock:
            run = await self._known(job_id, phase)
        if run is None:
            return Outcome(None, f"the {phase} phase was never started on this node")
        assert run.watcher is not None
        return await asyncio.shield(run.watcher)

    async def finish(self, job_id: int, *, everything: bool) -> None:
        """End what is left of a job here and mark its log as complete.

        Parameters
        ----------
        everything
            False after a success: what the script left in its own process group ends. True after a failure or
            a cancel: every process of the job ends, wherever it hides.
        """
        async with self._lock:  # a start under way comes first, so that it is seen here
            self._ending.add(job_id)
        if everything:
            left = await self._children.end(lambda: self._processes(job_id))
        else:
            left = await self._end_group(job_id)
        if left:
            self._journal.write(f"job {job_id}: processes {sorted(left)} did not end")
        for phase in PHASES:
            run = self._runs.pop((job_id, phase), None)
            if run is not None:
                self._children.forget(run.pid)
        if self.is_known(job_id):
            try:
                write_file(self._node.job_path(job_id, "ended"), b"")
            except OSError as error:
                self._journal.write(f"job {job_id}: cannot be marked as ended: {error}")
                return
        self._ending.discard(job_id)
        self.changed.fire()

    async def keep_only(self, active: Set[int], up_to: int) -> None:
        """End every job here that the head has given up; jobs after `up_to` are newer than its list."""
        for job_id in self._unfinished():
            if job_id not in active and job_id <= up_to:
                self._journal.write(f"job {job_id}: the head has given it up")
                await self.finish(job_id, everything=True)

    async def _known(self, job_id: int, phase: str) -> Optional[_Run]:
        run = self._runs.get((job_id, phase))
        if run is not None:
            return run
        path = self._node.job_path(job_id, f"{phase}.claim")
        if _text(path) is None:
            return None
        claim = await self._read_claim(path)
        if claim is None:
            run = _Run(0, None, 0)
        else:
            same_boot = claim.boot in ("-", self._boot)
            run = _Run(claim.pid, claim.start_time if same_boot else None, claim.log_offset)
        run.watcher = asyncio.ensure_future(self._watch_stranger(job_id, phase, run))
        self._runs[job_id, phase] = run
        return run

    def _spawn(self, job_id: int, phase: str, script: str, env: Dict[str, str]) -> _Run:
        node = self._node
        os.makedirs(node.path("jobs"), 0o700, exist_ok=True)
        os.makedirs(node.job_path(job_id), 0o700, exist_ok=True)
        script_path = node.job_path(job_id, f"{phase}.sh")
        write_file(script_path, script.encode("utf-8", "surrogateescape"))
        cwd = os.path.join(node.home, "sky_workdir")
        os.makedirs(cwd, exist_ok=True)
        full = base_env(node)
        full.update(env)
        full.pop(KEEPER_MARK, None)  # a job must not pass for a keeper of secrets
        full[NODE_MARK] = node.node_id
        full[JOB_MARK] = f"{node.node_id}:{job_id}"
        log = os.open(self.log_path(job_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            log_offset = os.fstat(log).st_size
            argv = [
                "/bin/sh",
                "-c",
                _WRAPPER,
                f"job-{job_id}",
                node.job_path(job_id, f"{phase}.claim"),
                node.job_path(job_id, f"{phase}.code"),
                str(log_offset),
                self._shell(full["PATH"]),
                script_path,
            ]
            pid = self._children.spawn(argv, env=full, cwd=cwd, output=log)
        finally:
            os.close(log)
        return _Run(pid, process.identity(pid), log_offset)

    async def _watch_child(self, job_id: int, phase: str, run: _Run) -> Outcome:
        code = await self._children.exited(run.pid)
        claim = await self._read_claim(self._node.job_path(job_id, f"{phase}.claim"), patience=0)
        if claim is not None and claim.pid != run.pid:
            # A wrapper that an earlier agent started in its last moment was quicker: that one is the job.
            run.pid, run.start_time, run.log_offset = claim.pid, claim.start_time, claim.log_offset
            return await self._watch_stranger(job_id, phase, run)
        recorded = self._recorded_code(job_id, phase)
        return Outcome(code if recorded is None else recorded)

    async def _watch_stranger(self, job_id: int, phase: str, run: _Run) -> Outcome:
        if run.start_time is not None:
            await self._children.gone(run.pid, run.start_time)
        code = self._recorded_code(job_id, phase)
        if code is not None:
            return Outcome(code)
        return Outcome(
            None, "its process ended without an exit code while no agent watched (killed, or a reboot)"
        )

    def _recorded_code(self, job_id: int, phase: str) -> Optional[int]:
        text = _text(self._node.job_path(job_id, f"{phase}.code"))
        # Without its newline the number may be half written.
        return int(text) if text is not None and text.endswith("\n") else None

    async def _read_claim(self, path: str, patience: float = _CLAIM_LIMIT) -> Optional[_Claim]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            claim = _parse_claim(_text(path))
            if claim is not None:
                return claim
            if loop.time() >= deadline:
                return None
            await asyncio.sleep(0.01)

    async def _end_group(self, job_id: int) -> Set[int]:
        run = self._runs.get((job_id, "run"))
        if run is None or not self._children.is_child(run.pid) or not process.send_group(run.pid, 0):
            return set()
        leader = run.pid

        def members() -> Set[int]:
            return {p.pid for p in process.snapshot() if leader in (p.pgid, p.sid) and not p.zombie}

        return await self._children.end(members, GRACE)

    def _processes(self, job_id: int) -> Set[int]:
        procs = [proc for proc in process.snapshot() if not proc.zombie]
        leaders = {
            run.pid
            for (owner, _), run in self._runs.items()
            if owner == job_id and process.is_alive(run.pid, run.start_time)
        }
        found = process.marked(procs, JOB_MARK, f"{self._node.node_id}:{job_id}") | leaders
        found |= {proc.pid for proc in procs if proc.pgid in leaders or proc.sid in leaders}
        return found | process.descendants(procs, found)

    def _unfinished(self) -> List[int]:
        try:
            names = os.listdir(self._node.path("jobs"))
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdigit() and not self.has_ended(int(name)))

    def _shell(self, path: str) -> str:
        if self._interpreter is None:
            found = (os.path.join(folder, "bash") for folder in (path + ":/bin:/usr/bin").split(":"))
            self._interpreter = next((bash for bash in found if os.access(bash, os.X_OK)), "/bin/sh")
        return self._interpreter


def base_env(node: Node) -> Dict[str, str]:
    """Give what every process of a node starts from.

    It is what the infra gave the agent: an image's own variables, or a list of harmless ones on a person's
    machine.
    """
    env = {"PATH": _PATH, "LANG": "C.UTF-8", "TERM": "dumb", "SHELL": "/bin/sh"}
    env.update(item for item in os.environ.items() if item[0] not in _NOT_INHERITED)
    env["PYTHONUNBUFFERED"] = "1"  # or a script's prints would reach the log only at its end
    env["HOME"] = node.home
    env[NODE_MARK] = node.node_id
    return env


def _parse_claim(text: Optional[str]) -> Optional[_Claim]:
    if text is None or len(text) < 2 or not text.endswith("\n"):
        return None  # without its newline it may be half written
    pid, log_offset, boot, rest = text.split(None, 3)
    stat = process.parse_stat(rest) if boot != "-" else None
    start_time = stat.start_time if stat is not None else " ".join(rest.split())
    return _Claim(int(pid), int(log_offset), boot, start_time)


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return "the environment of the job (envs and secrets) is larger than the system allows"
    return str(error)


def _text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
