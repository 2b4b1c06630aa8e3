"""Reading a job's log while it is written, and afterwards.

The log lives on the node. A follower counts the bytes it was given and asks again from there whenever the
agent was replaced; a cut of the link alone is mended below, without a byte lost. What is done with the
bytes is the caller's business.
"""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_sky.agent.wire import StreamReset
from jupyter_sky.errors import AgentError, JobNotFoundError, LinkError
from jupyter_sky.flows import agents, jobs
from jupyter_sky.flows.views import LogEnd, exit_code_of
from jupyter_sky.link import portal
from jupyter_sky.names import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_sky.agent.wire import Stream
    from jupyter_sky.state import ClusterRecord

#: How often an agent that vanishes while its log is followed is looked for again before giving up, in a row.
_TRIES = 5


def tail(
    cluster: str,
    job_id: int | None = None,
    *,
    rank: int | None = None,
    follow: bool = True,
    tail: int | None = None,
    offset: int | None = None,
    write: Callable[[bytes], object],
) -> LogEnd:
    """Give a job's log to `write`, piece by piece, and say how the job stands at the end.

    Parameters
    ----------
    cluster, job_id
        Which log; the latest job's where no id is given.
    rank
        One rank's own log; by default all ranks' lines, merged.
    follow
        Go on until the job has ended.
    tail
        Begin with the last so many lines.
    offset
        Begin with this byte, as an earlier `LogEnd.offset` said.
    write
        Called with each piece, in order, from the calling thread.
    """
    position, failures = offset, 0
    record = agents.require_up(cluster)
    while True:
        stream: Stream | None = None
        try:
            stream, head = _open(record, job_id, rank=rank, follow=follow, tail=tail, offset=position)
            job_id, position, tail = head["job_id"], head["offset"], None
            link = agents.link_to(record)
            while piece := portal.run(agents.while_served, record, link, stream.read):
                write(bytes(piece))
                position += len(piece)
                failures = 0
            job = jobs.view(record, agents.call(record, "job.get", job_id=job_id))
            return LogEnd(job.id, job.status, exit_code_of(job.status), position, job.reason)
        except (StreamReset, LinkError) as error:
            if isinstance(error, StreamReset):
                _refuse(error, cluster, job_id)
            failures += 1
            if failures > _TRIES:
                raise LinkError(
                    f"The log of {cluster!r} broke off {failures} times in a row: {error}",
                    hint=f"`jupyter sky status {cluster}` tells how the cluster is.",
                ) from error
            time.sleep(0.1 * failures)
        finally:
            if stream is not None:
                portal.run(stream.close)
        record = agents.require_same(record)


def _open(
    record: ClusterRecord,
    job_id: int | None,
    *,
    rank: int | None,
    follow: bool,
    tail: int | None,
    offset: int | None,
) -> tuple[Stream, dict[str, int]]:
    """Open a log stream and read its first line, which tells the job and where the bytes begin."""
    link = agents.link_to(record)
    open_stream = functools.partial(
        link.open, "logs", rank=rank, job_id=job_id, offset=offset, tail=tail, follow=follow
    )
    stream = portal.run(open_stream)
    try:
        line = portal.run(agents.while_served, record, link, stream.readline)
    except BaseException:
        portal.run(stream.close)
        raise
    if not line:
        raise LinkError("The agent ended the log stream before it began.")
    return stream, json.loads(bytes(line))


def _refuse(error: StreamReset, cluster: str, job_id: int | None) -> None:
    """Raise what a repeated attempt cannot mend."""
    if error.code == "job_not_found":
        if job_id is not None:
            raise jobs.no_such_job(cluster, [job_id]) from error
        raise JobNotFoundError(
            f"Cluster {cluster!r} has no jobs yet.", hint=f"`jupyter sky queue {cluster}` lists its jobs."
        ) from error
    if error.code == "rank_not_found":
        raise JobNotFoundError(
            f"Cluster {cluster!r}: {error.message}.", hint="Name one of its ranks, or leave --rank out."
        ) from error
    if error.code not in agents.PASSING | {"peer_lost"}:
        raise AgentError(error.message, code=error.code) from error


def download(
    cluster: str, job_ids: Sequence[int] | None = None, folder: Path | None = None
) -> dict[int, Path]:
    """Copy the logs of jobs (all of them by default) and give the folder of each job.

    They go into `folder`, by default `sky_logs/<cluster>` in the present one.
    """
    target = folder or Path("sky_logs", cluster)
    chosen = [job for job in jobs.queue(cluster) if not job_ids or job.id in job_ids]
    missing = set(job_ids or ()) - {job.id for job in chosen}
    if missing:
        raise jobs.no_such_job(cluster, sorted(missing))
    done: dict[int, Path] = {}
    for job in sorted(chosen, key=lambda job: job.id):
        # The name comes from the node, which must not choose a place on this machine.
        named = job.name and is_name(job.name)
        place = target / f"{job.id}-{job.name}" if named else target / str(job.id)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        ranks: list[int | None] = [None]
        if len(job.exit_codes) > 1:
            ranks.extend(range(len(job.exit_codes)))
        for rank in ranks:
            with (place / ("run.log" if rank is None else f"rank-{rank}.log")).open("wb") as file:
                tail(cluster, job.id, rank=rank, follow=False, write=file.write)
        done[job.id] = place
    return done
