"""The queue of a cluster: jobs in the order they came, side by side where they fit.

Strictly first in, first out: while the job at the front does not fit, nothing behind it starts, so that a
large job is not starved by small ones. The queue owns the records of the active jobs; the database follows
it, and catches up where its disk was full.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Dict, Iterable, List, Optional, Set

from .gang import Gang
from .logs import LogSource
from .merging import Merger, sources_of
from .placement import find_gang
from .signals import Signal
from .store import Job, Store, StoreError
from .submission import check_env, check_fits, check_spec
from .wire import CallError

if TYPE_CHECKING:
    from .cluster import Cluster
    from .journal import Journal
    from .keeper import Keepers
    from .node import Node
    from .runner import Runner

_SAVE_AGAIN = 1.0


class JobQueue:
    """All jobs of the cluster; lives on the head.

    Attributes
    ----------
    changed
        Fired whenever a job's state, or anything else about the cluster's use, has changed.
    last_end
        When a job ended last under this agent (seconds since the epoch; 0: none did).
    closed
        Why no job is taken any more; None while they are.
    """

    def __init__(
        self, node: Node, store: Store, keepers: Keepers, cluster: Cluster, runner: Runner, journal: Journal
    ) -> None:
        self._node = node
        self._store = store
        self._keepers = keepers
        self._cluster = cluster
        self._runner = runner
        self._journal = journal
        self._active: Dict[int, Job] = {}
        self._waiting: Deque[Job] = deque()
        self._gangs: Dict[int, Gang] = {}
        self._mergers: Dict[int, Merger] = {}
        self._unsaved: Dict[int, Job] = {}
        self._lost_secrets: Set[int] = set()
        self._tasks: Set[asyncio.Future[Any]] = set()
        self.changed = Signal()
        self.last_end = 0.0
        self.closed: Optional[str] = None

    # --- what calls ask for ---

    def submit(self, raw_spec: Any, secrets: Any) -> Job:
        """Take a job, or give the one that was taken under its submission id before.

        Raises
        ------
        CallError
            `bad_params`, `does_not_fit`, `not_configured`, `node_ending`, `disk`, or `secrets_too_large`.
        """
        spec = check_spec(raw_spec)
        check_env(secrets, "secrets")
        submission_id = spec.pop("submission_id")
        known = self._find(submission_id)
        if known is not None:
            return known
        if self.closed is not None:
            raise CallError("node_ending", self.closed, "start the cluster again, then submit the job")
        check_fits(spec, self._cluster.capacities, self._node.num_nodes)
        spec["secret_names"] = sorted(secrets)
        try:
            self._keepers.keep(submission_id, secrets)
        except OSError as error:
            raise CallError(
                "secrets_too_large", f"the job's secrets cannot be kept: {error.strerror}"
            ) from None
        try:
            job = self._store.add(submission_id, spec)
        except StoreError as error:
            self._keepers.drop(submission_id)
            raise CallError(
                "disk", f"the job was not taken: {error}", "make room on the node's disk"
            ) from None
        self._active[job.job_id] = job
        self._waiting.append(job)
        self._journal.write(f"job {job.job_id}: submitted")
        self._schedule()
        return job

    def list(self, ids: Optional[Iterable[int]] = None, *, active: bool = False) -> List[Job]:
        """Give jobs, oldest first: those of `ids`, or all; only the active ones if asked."""
        if active:
            jobs = sorted(self._active.values(), key=lambda job: job.job_id)
        else:
            jobs = [self._newest(job) for job in self._store.all()]
        wanted = None if ids is None else set(ids)
        return jobs if wanted is None else [job for job in jobs if job.job_id in wanted]

    def get(self, job_id: Optional[int]) -> Job:
        """Give one job, the latest for None. Raises `CallError` (`job_not_found`)."""
        job = self._active.get(job_id) if job_id is not None else None
        if job is None:
            job = self._store.latest() if job_id is None else self._store.get(job_id)
        if job is None:
            asked = "no job has been submitted yet" if job_id is None else f"there is no job {job_id}"
            raise CallError("job_not_found", f"{asked} on cluster {self._node.cluster_name}")
        return self._newest(job)

    async def cancel(self, ids: Optional[Iterable[int]]) -> List[int]:
        """End active jobs, all of them for None; return when their processes are gone. Give their ids."""
        wanted = list(self._active) if ids is None else [job_id for job_id in ids if job_id in self._active]
        for job_id in wanted:
            job = self._active.get(job_id)
            gang = self._gangs.get(job_id)
            if gang is not None:
                gang.cancel()
            elif job is not None and job in self._waiting:
                self._waiting.remove(job)
                job.status, job.ended_at = "CANCELLED", time.time()
                self._retire(job)
        self._schedule()
        while any(job_id in self._active for job_id in wanted):
            await self.changed.wait()
        return wanted

    async def wait(self, job_id: Optional[int], until: str, limit: float) -> Job:
        """Give a job once it has started or ended, or as it is after `limit` seconds."""
        job = self.get(job_id)
        deadline = time.monotonic() + limit
        while job.is_active and (until == "ended" or job.status == "PENDING"):
            if not await self.changed.wait(deadline - time.monotonic()):
                break
        return job

    @property
    def active_count(self) -> int:
        """How many jobs wait or run."""
        return len(self._active)

    def is_active(self, job_id: int) -> bool:
        """Say whether a job waits or runs."""
        return job_id in self._active

    def worker_view(self) -> Dict[str, Any]:
        """Give what a worker that is back needs to end the jobs that were given up without it."""
        running = list(self._gangs)
        waiting = [job.job_id for job in self._waiting]
        newest = self._store.latest()
        up_to = min(waiting) - 1 if waiting else (newest.job_id if newest is not None else 0)
        return {"active": running, "up_to": up_to}

    # --- logs ---

    def log_path(self, job: Job) -> str:
        """Give the file with all the job printed."""
        if job.num_nodes == 1:
            return self._runner.log_path(job.job_id)
        return self._node.job_path(job.job_id, "merged.log")

    def log(self, job: Job, rank: Optional[int]) -> LogSource:
        """Give the log of this node's rank, or for None the one of the whole job."""
        job_id = job.job_id
        if job.num_nodes == 1 or rank == 0:
            return LogSource(self._runner.log_path(job_id), lambda: job_id not in self._active, self.changed)
        merger = self._merger(job)

        def is_over() -> bool:
            return job_id not in self._active and (merger is None or merger.done.done())

        return LogSource(self.log_path(job), is_over, self.changed)

    def _merger(self, job: Job) -> Optional[Merger]:
        if job.num_nodes == 1 or job.started_at is None or not self._cluster.is_complete:
            return None
        job_id = job.job_id
        merger = self._mergers.get(job_id)
        if merger is None or (merger.done.done() and not merger.is_complete):
            sources = sources_of(self._runner, self._cluster.peers, job_id, job.num_nodes)
            try:
                os.makedirs(self._node.job_path(job_id), 0o700, exist_ok=True)
                merger = Merger(self.log_path(job), sources, lambda: job_id in self._active, self._journal)
            except OSError as error:
                self._journal.write(f"job {job_id}: no merged log: {error}")
                return None
            self._mergers[job_id] = merger
            merger.done.add_done_callback(lambda _: self.changed.fire())
        return merger

    # --- life ---

    def recover(self) -> None:
        """Take up the active jobs that an earlier agent of this node left."""
        left = self._store.all(active=True)
        self._keepers.recover({job.submission_id for job in left})
        for job in left:
            self._active[job.job_id] = job
            if job.spec["secret_names"] and not self._keepers.get(job.submission_id):
                self._lost_secrets.add(job.job_id)
            if job.status == "PENDING":
                self._waiting.append(job)
            else:
                self._journal.write(f"job {job.job_id}: found again, {job.status}")
                self._take(job, 1)
                self._begin(job)
                self._merger(job)
        self._schedule()

    async def close(self) -> None:
        """Leave the jobs as they are and stop caring for them."""
        for task in [*self._tasks, *(merger.done for merger in self._mergers.values())]:
            task.cancel()
            await asyncio.wait([task])

    def cluster_changed(self) -> None:
        """Count what runs on the cluster's nodes again after they were described anew."""
        for job_id in self._gangs:
            self._take(self._active[job_id], 1)
        self._schedule()

    def _schedule(self) -> None:
        while self._waiting:
            job = self._waiting[0]
            spec = job.spec
            if job.num_nodes > len(self._cluster.capacities):
                break
            devices = find_gang(self._cluster.capacities, job.num_nodes, spec["cpus"], spec["gpus"])
            if devices is None:
                break
            self._waiting.popleft()
            job.gpus = devices
            self._take(job, 1)
            self._begin(job)
        self.changed.fire()

    def _take(self, job: Job, sign: int) -> None:
        for capacity, indices in zip(self._cluster.capacities, job.gpus):  # noqa: B905 - a job may use fewer nodes
            move = capacity.take if sign > 0 else capacity.give_back
            move(job.spec["cpus"], job.spec["gpus"], indices)

    def _begin(self, job: Job) -> None:
        gang = Gang(
            self._node,
            job,
            self._cluster.ranks[: job.num_nodes],
            self._cluster.ips[: job.num_nodes],
            secrets=self._keepers.get(job.submission_id),
            secrets_lost=job.job_id in self._lost_secrets,
            save=self._save,
            on_started=lambda job: self._keepers.drop(job.submission_id),
            note=self._cluster.local.note,
        )
        self._gangs[job.job_id] = gang
        self._hold(asyncio.ensure_future(self._drive(gang)))

    async def _drive(self, gang: Gang) -> None:
        job = gang.job
        try:
            await gang.drive()
        except Exception as error:  # noqa: BLE001 - a defect ends this job, never the agent and the other jobs
            self._journal.write(f"job {job.job_id}: could not be driven", error)
            job.status, job.reason = "FAILED_DRIVER", f"the agent failed: {type(error).__name__}: {error}"
            job.ended_at = time.time()
        del self._gangs[job.job_id]
        self._take(job, -1)
        self._retire(job)
        self._schedule()

    def _retire(self, job: Job) -> None:
        self._keepers.drop(job.submission_id)
        self._lost_secrets.discard(job.job_id)
        self._journal.write(f"job {job.job_id}: {job.status}, codes {job.exit_codes}")
        self._save(job)
        self._active.pop(job.job_id, None)
        self.last_end = time.time()
        self.changed.fire()

    def _save(self, job: Job) -> None:
        try:
            self._store.save(job)
            self._unsaved.pop(job.job_id, None)
        except StoreError as error:
            self._journal.write(f"job {job.job_id}: {error}; memory holds its state meanwhile")
            if not self._unsaved:
                self._hold(asyncio.ensure_future(self._save_again()))
            self._unsaved[job.job_id] = job
        if job.num_nodes > 1 and job.is_active:
            self._merger(job)
        self.changed.fire()

    async def _save_again(self) -> None:
        await asyncio.sleep(_SAVE_AGAIN)
        while self._unsaved:
            try:
                for job in list(self._unsaved.values()):
                    self._store.save(job)
                    self._unsaved.pop(job.job_id, None)
            except StoreError:
                await asyncio.sleep(_SAVE_AGAIN)

    def _newest(self, job: Job) -> Job:
        return self._active.get(job.job_id) or self._unsaved.get(job.job_id) or job

    def _find(self, submission_id: str) -> Optional[Job]:
        job = self._store.find(submission_id)
        return None if job is None else self._newest(job)

    def _hold(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
