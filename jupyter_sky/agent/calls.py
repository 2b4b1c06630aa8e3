"""The calls a head answers about its cluster: nodes, jobs and autostop.

Each one checks what it was given and hands it to the part that does the work; nothing is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Mapping, Optional

from .params import is_whole, one_of, refusal, seconds
from .wire import CallError

if TYPE_CHECKING:
    from .autostop import Autostop
    from .cluster import Cluster
    from .jobs import JobQueue
    from .store import Job

_Handler = Callable[[Dict[str, Any]], Awaitable[Any]]


def head_calls(queue: JobQueue, autostop: Autostop, cluster: Cluster) -> Mapping[str, _Handler]:
    """Give the handlers by method."""

    def show(job: Job) -> Dict[str, Any]:
        return job.to_dict(queue.log_path(job))

    async def configure(params: Dict[str, Any]) -> Any:
        peers = params.get("peers")
        if not isinstance(peers, list) or not all(isinstance(peer, dict) for peer in peers):
            raise CallError("bad_params", "peers must be a list with one object a node")
        await cluster.configure(peers)
        queue.cluster_changed()
        return {}

    async def submit(params: Dict[str, Any]) -> Any:
        return {"job_id": queue.submit(params.get("spec"), params.get("secrets") or {}).job_id}

    async def list_jobs(params: Dict[str, Any]) -> Any:
        jobs = queue.list(_ids(params), active=bool(params.get("active")))
        return [show(job) for job in jobs]

    async def get(params: Dict[str, Any]) -> Any:
        return show(queue.get(_job_id(params)))

    async def cancel(params: Dict[str, Any]) -> Any:
        return {"cancelled": await queue.cancel(_ids(params))}

    async def wait(params: Dict[str, Any]) -> Any:
        until = one_of({"until": "ended", **params}, "until", ("started", "ended"))
        limit = seconds(params, "wait", 30.0)
        return show(await queue.wait(_job_id(params), until, limit))

    async def autostop_set(params: Dict[str, Any]) -> Any:
        autostop.set(params)
        return {}

    async def autostop_get(_params: Dict[str, Any]) -> Any:
        return autostop.get()

    return {
        "node.configure": configure,
        "job.submit": submit,
        "job.list": list_jobs,
        "job.get": get,
        "job.cancel": cancel,
        "job.wait": wait,
        "autostop.set": autostop_set,
        "autostop.get": autostop_get,
    }


def _ids(params: Dict[str, Any]) -> Optional[List[int]]:
    ids = params.get("ids")
    if ids is not None and not (isinstance(ids, list) and all(is_whole(each) for each in ids)):
        raise refusal("ids", ids, "a list of job numbers, or null")
    return ids


def _job_id(params: Dict[str, Any]) -> Optional[int]:
    job_id = params.get("job_id")
    if job_id is not None and not is_whole(job_id):
        raise refusal("job_id", job_id, "the number of a job, or null for the latest")
    return job_id
