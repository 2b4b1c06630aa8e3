"""What a person who stops watching is told, and how a job is followed to its end.

Interrupting a command never ends what it began: an operation lives in its own process and a job on its
cluster.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from jupyter_sky.cli.face import Face, Outcome
from jupyter_sky.errors import DetachedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_sky.state import OperationRecord


class Watch:
    """The operations that a command began and is waiting for."""

    def __init__(self) -> None:
        self.begun: list[OperationRecord] = []

    def on_begin(self, operation: OperationRecord) -> None:
        """Remember an operation; flows call this."""
        self.begun.append(operation)


@contextmanager
def operations_go_on() -> Iterator[Watch]:
    """Turn an interrupt into the sentence that says how to attach to what goes on without us."""
    from jupyter_sky.sdk.views import SHORT_ID

    watch = Watch()
    try:
        yield watch
    except KeyboardInterrupt:
        if not watch.begun:
            raise
        lines = [
            f"`jupyter sky ops attach {operation.id[:SHORT_ID]}`  {operation.kind} of {operation.target}"
            for operation in watch.begun
        ]
        many = len(lines) > 1
        raise DetachedError(
            f"You stopped watching; the operation{'s go' if many else ' goes'} on.",
            hint="Watch again with "
            + "\n      ".join(lines)
            + "\n      (`jupyter sky ops cancel ID` ends it).",
        ) from None


def follow(
    face: Face,
    cluster: str,
    job_id: int | None,
    *,
    operation_id: str | None = None,
    rank: int | None = None,
    tail: int | None = None,
    wait: bool = True,
) -> Outcome:
    """Stream a job's log to the person until the job has ended; without `wait`, what there is of it."""
    from jupyter_sky.flows import logs

    try:
        end = logs.tail(cluster, job_id, rank=rank, follow=wait, tail=tail, write=face.stream)
    except KeyboardInterrupt:
        which = f" {job_id}" if job_id is not None else ""
        job = f"job{which}" if which else "the latest job"
        raise DetachedError(
            f"You stopped watching; {job} on cluster {cluster!r} goes on.",
            hint=f"See its log again with `jupyter sky logs {cluster}{which}`, "
            f"end it with `jupyter sky cancel {cluster}{which}`.",
        ) from None
    failure = None
    if wait:
        why = f": {end.reason}" if end.reason else ""
        text = f"Job {end.job_id} on cluster {cluster!r} ended: {end.status}{why}."
        if end.exit_code == 0:
            face.note(f"✓ {text}")
        else:
            failure = f"✗ {text}"
    return Outcome(cluster, end.job_id, end.status, operation_id, end.exit_code, failure)
