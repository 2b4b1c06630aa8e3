"""Driving one job through its life: setup on every rank, then run, and the end of all when one fails.

The gang reads what is true from the ranks and never assumes: everything it asks of them may be asked twice,
so an agent that was killed drives its jobs on from wherever they are. It decides a job's states and codes;
who is next and what is written to the database is the queue's business.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Set

from .ranks import Rank, RankError
from .runner import PHASES, Outcome

if TYPE_CHECKING:
    from .node import Node
    from .store import Job

#: What is recorded for a rank that was ended because another one failed, or the job was cancelled.
ENDED = 137


class _FailedError(Exception):
    """The job is over before its time; `status` is what it becomes."""

    def __init__(self, status: str, reason: Optional[str] = None) -> None:
        super().__init__(reason or status)
        self.status = status
        self.reason = reason


class Gang:
    """One job on its ranks.

    Parameters
    ----------
    ranks, ips
        Of the nodes this job runs on, rank 0 first.
    secrets
        Of the job; `secrets_lost` says that it had some which a restarted agent could not get back.
    save
        Called whenever the job's record has changed.
    on_started
        Called when every rank runs, after which the secrets are needed no more.
    note
        Adds a line of the agent's own to the job's log.
    """

    def __init__(
        self,
        node: Node,
        job: Job,
        ranks: Sequence[Rank],
        ips: Sequence[str],
        *,
        secrets: Mapping[str, str],
        secrets_lost: bool,
        save: Callable[[Job], None],
        on_started: Callable[[Job], None],
        note: Callable[[int, str], None],
    ) -> None:
        self._node = node
        self.job = job
        self._ranks = ranks
        self._ips = ips
        self._secrets = secrets
        self._secrets_lost = secrets_lost
        self._save = save
        self._on_started = on_started
        self._note = note
        self._cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def cancel(self) -> None:
        """Ask for the job's end; `drive` returns when it is CANCELLED and its processes are gone."""
        if not self._cancelled.done():
            self._cancelled.set_result(None)

    async def drive(self) -> None:
        """Bring the job to its end; its record then says how. Never raises but for a defect."""
        job = self.job
        try:
            for phase in PHASES:
                if not job.spec[phase] or (phase == "setup" and job.status == "RUNNING"):
                    continue
                await self._phase(phase, job.spec[phase])
            status, reason = "SUCCEEDED", None
            job.exit_codes = [code if code is not None else 0 for code in job.exit_codes]
        except _FailedError as failed:
            status, reason = failed.status, failed.reason
            if status == "CANCELLED":
                job.exit_codes = [ENDED if code is None else code for code in job.exit_codes]
            if status == "FAILED_DRIVER":
                self._note(job.job_id, f"The job failed: {reason}")
        lost = await self._finish(everything=status != "SUCCEEDED")
        job.status = status
        job.started_at = job.started_at or time.time()
        job.reason = reason or (f"SUCCEEDED, but then {lost}" if lost and status == "SUCCEEDED" else None)
        job.ended_at = time.time()

    async def _phase(self, phase: str, script: str) -> None:
        job = self.job
        running = "SETTING_UP" if phase == "setup" else "RUNNING"
        if job.status != running:
            job.status = running
            job.started_at = job.started_at or time.time()
            self._save(job)
        await self._start(phase, script)
        if phase == "run":
            self._on_started(job)
        codes = await self._wait(phase)
        if phase == "run":
            job.exit_codes = codes

    async def _start(self, phase: str, script: str) -> None:
        if self._secrets_lost:
            found = await self._each([rank.find(self.job.job_id, phase) for rank in self._ranks])
            if None not in found:
                return
            raise _FailedError(
                "FAILED_DRIVER",
                "its secrets were lost when the agent was restarted before it had started; submit it again",
            )
        await self._each(
            [
                rank.start(self.job.job_id, phase, script, self._env(phase, number))
                for number, rank in enumerate(self._ranks)
            ]
        )

    async def _each(self, asked: Sequence[Any]) -> List[Any]:
        """Ask all ranks at once; the first that refuses or is lost fails the job. A cancel goes first."""
        asking = asyncio.ensure_future(_gather(asked))
        waits: Set[asyncio.Future[Any]] = {asking, self._cancelled}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if self._cancelled.done():
            asking.cancel()
            await asyncio.wait({asking})
            raise _FailedError("CANCELLED")
        answers = asking.result()
        for number, answer in enumerate(answers):
            if isinstance(answer, RankError):
                raise _FailedError("FAILED_DRIVER", self._name(number, str(answer)))
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def _wait(self, phase: str) -> List[Optional[int]]:
        """Wait for all ranks; give their codes, or fail with them as soon as one is not 0."""
        waits = {
            asyncio.ensure_future(rank.wait(self.job.job_id, phase)): number
            for number, rank in enumerate(self._ranks)
        }
        codes: List[Optional[int]] = [None] * len(self._ranks)
        failure: Optional[_FailedError] = None
        pending: Any = set(waits)
        try:
            while pending and failure is None:
                done, _ = await asyncio.wait({*pending, self._cancelled}, return_when=asyncio.FIRST_COMPLETED)
                done.discard(self._cancelled)
                pending -= done
                for task in sorted(done, key=lambda task: waits[task]):
                    outcome = _outcome(task)
                    codes[waits[task]] = outcome.code
                    failure = failure or self._judge(phase, waits[task], outcome)
                if self._cancelled.done() and pending:
                    failure = _FailedError("CANCELLED")
        finally:
            for task in pending:
                task.cancel()
        if failure is None:
            return codes
        for task in pending:
            codes[waits[task]] = ENDED
        self.job.exit_codes = codes
        raise failure

    def _judge(self, phase: str, number: int, outcome: Outcome) -> Optional[_FailedError]:
        if outcome.code == 0:
            return None
        if outcome.code is None:
            return _FailedError("FAILED_DRIVER", self._name(number, outcome.reason or "its end is unknown"))
        status = "FAILED_SETUP" if phase == "setup" else "FAILED"
        return _FailedError(status, self._name(number, f"{phase} ended with exit code {outcome.code}"))

    def _name(self, number: int, text: str) -> str:
        return text if len(self._ranks) == 1 else f"rank {number}: {text}"

    async def _finish(self, *, everything: bool) -> Optional[str]:
        """End the job on all ranks; give why one of them could not be asked."""
        ends = [rank.finish(self.job.job_id, everything=everything) for rank in self._ranks]
        for number, answer in enumerate(await _gather(ends)):
            if isinstance(answer, RankError):
                return self._name(number, str(answer))
            if isinstance(answer, BaseException):
                raise answer
        return None

    def _env(self, phase: str, number: int) -> Dict[str, str]:
        spec = self.job.spec
        prefix = "SKYPILOT_SETUP_" if phase == "setup" else "SKYPILOT_"
        env = {**spec["envs"], **self._secrets}
        env["SKYPILOT_NUM_NODES"] = str(len(self._ranks))
        env["SKYPILOT_TASK_ID"] = self.job.task_id
        env["SKYPILOT_CLUSTER_INFO"] = json.dumps(
            {"cluster_name": self._node.cluster_name, **self._node.cluster_info}
        )
        env["SKYPILOT_USER"] = spec["user"]
        env["SKYPILOT_INTERNAL_JOB_ID"] = str(self.job.job_id)
        env[prefix + "NODE_IPS"] = "\n".join(self._ips)
        env[prefix + "NODE_RANK"] = str(number)
        env[prefix + "NUM_GPUS_PER_NODE"] = str(math.ceil(spec["gpus"]))
        if self._node.gpus:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in self.job.gpus[number])
        return env


async def _gather(asked: Sequence[Any]) -> List[Any]:
    return list(await asyncio.gather(*asked, return_exceptions=True))


def _outcome(task: asyncio.Task[Outcome]) -> Outcome:
    try:
        return task.result()
    except RankError as error:
        return Outcome(None, str(error))
