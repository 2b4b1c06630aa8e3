"""One face for a rank, whether it runs here or on a worker.

The head drives a gang through these objects: `Rank` on this node goes straight to the runner, on a worker
through the `rank.*` calls of its agent. A worker whose agent restarts is asked again; a worker that stays
silent is lost.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from typing import Any, Awaitable, Dict, Mapping, Optional, Tuple

from .params import flag, is_whole, one_of, refusal, seconds, text, whole
from .peers import Peer, PeerLostError
from .runner import PHASES, Outcome, RunError, Runner
from .submission import check_env
from .wire import CallError

_POLL = 60.0
_START_TIMEOUT = 30.0
_FINISH_TIMEOUT = 30.0


class RankError(Exception):
    """A rank could not be driven: what it was, for the person."""


class Rank(ABC):
    """One rank of a gang."""

    @abstractmethod
    async def start(self, job_id: int, phase: str, script: str, env: Dict[str, str]) -> Dict[str, int]:
        """Start a phase or find it started; give `pid` and `log_offset`. Raises `RankError`."""

    @abstractmethod
    async def find(self, job_id: int, phase: str) -> Optional[Dict[str, int]]:
        """Give what `start` gave, or None where the phase was never started. Raises `RankError`."""

    @abstractmethod
    async def wait(self, job_id: int, phase: str) -> Outcome:
        """Wait for the end of a phase. Raises `RankError` where the node is lost."""

    @abstractmethod
    async def finish(self, job_id: int, *, everything: bool) -> None:
        """End what is left of the job there. Raises `RankError` where that cannot be known."""


class LocalRank(Rank):
    """The rank on this node."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def start(self, job_id: int, phase: str, script: str, env: Dict[str, str]) -> Dict[str, int]:
        """See `Rank.start`."""
        try:
            return await self._runner.start(job_id, phase, script, env)
        except RunError as error:
            raise RankError(str(error)) from None

    async def find(self, job_id: int, phase: str) -> Optional[Dict[str, int]]:
        """See `Rank.find`."""
        return await self._runner.find(job_id, phase)

    async def wait(self, job_id: int, phase: str) -> Outcome:
        """See `Rank.wait`."""
        return await self._runner.wait(job_id, phase)

    async def finish(self, job_id: int, *, everything: bool) -> None:
        """See `Rank.finish`."""
        await self._runner.finish(job_id, everything=everything)

    def note(self, job_id: int, text: str) -> None:
        """Add a line of the agent's own to the log, for a person who reads it to learn why the job ended."""
        path = self._runner.log_path(job_id)
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # the reason is in the job's record as well
        try:
            os.write(fd, f"(jupyter-sky) {text}\n".encode("utf-8", "replace"))
        except OSError:
            return
        finally:
            os.close(fd)


class RemoteRank(Rank):
    """A rank on a worker."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def start(self, job_id: int, phase: str, script: str, env: Dict[str, str]) -> Dict[str, int]:
        """See `Rank.start`."""
        params = {"job_id": job_id, "phase": phase, "script": script, "env": env}
        started: Dict[str, int] = await self._ask("rank.start", params, _START_TIMEOUT)
        return started

    async def find(self, job_id: int, phase: str) -> Optional[Dict[str, int]]:
        """See `Rank.find`."""
        found: Optional[Dict[str, int]] = await self._ask(
            "rank.find", {"job_id": job_id, "phase": phase}, _START_TIMEOUT
        )
        return found

    async def wait(self, job_id: int, phase: str) -> Outcome:
        """See `Rank.wait`."""
        params = {"job_id": job_id, "phase": phase, "timeout": _POLL}
        while True:
            reply = await self._ask("rank.wait", params, _POLL + _START_TIMEOUT)
            if reply is not None:
                return Outcome(reply["code"], reply["reason"])

    async def finish(self, job_id: int, *, everything: bool) -> None:
        """See `Rank.finish`."""
        await self._ask("rank.finish", {"job_id": job_id, "everything": everything}, _FINISH_TIMEOUT)

    async def _ask(self, method: str, params: Dict[str, Any], limit: float) -> Any:
        try:
            return await self._peer.ask(method, params, limit)
        except (CallError, PeerLostError) as error:
            raise RankError(str(error)) from None


def rank_calls(runner: Runner) -> Mapping[str, Any]:
    """Give the `rank.*` calls that a worker answers to its head."""

    def phase_of(params: Dict[str, Any]) -> Tuple[int, str]:
        # Both become parts of paths.
        return whole(params, "job_id"), one_of(params, "phase", PHASES)

    async def start(params: Dict[str, Any]) -> Any:
        job_id, phase = phase_of(params)
        check_env(params.get("env"), "env")
        try:
            return await runner.start(job_id, phase, text(params, "script"), params["env"])
        except RunError as error:
            raise CallError("cannot_start", str(error)) from None

    async def find(params: Dict[str, Any]) -> Any:
        return await runner.find(*phase_of(params))

    async def wait(params: Dict[str, Any]) -> Any:
        limit = seconds(params, "timeout")
        waiting: Awaitable[Outcome] = runner.wait(*phase_of(params))
        try:
            outcome = await asyncio.wait_for(waiting, limit)
        except asyncio.TimeoutError:
            return None
        return {"code": outcome.code, "reason": outcome.reason}

    async def finish(params: Dict[str, Any]) -> Any:
        await runner.finish(whole(params, "job_id"), everything=flag(params, "everything"))
        return {}

    async def sync(params: Dict[str, Any]) -> Any:
        active = params.get("active")
        if not isinstance(active, list) or not all(is_whole(each) for each in active):
            raise refusal("active", active, "a list of job numbers")
        await runner.keep_only(set(active), whole(params, "up_to"))
        return {}

    return {
        "rank.start": start,
        "rank.find": find,
        "rank.wait": wait,
        "rank.finish": finish,
        "rank.sync": sync,
    }
