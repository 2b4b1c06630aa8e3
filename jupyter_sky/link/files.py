"""Files to and from nodes: the client's half of file sync.

The tree is scanned and hashed once, however many nodes it goes to; their streams run side by side, each in a
worker thread. The protocol and both of its ends are in `jupyter_sky.agent.files`; this module adds the
ranks, the ignore rules, the progress and the errors that a person reads.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import SyncError
from jupyter_sky.events import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.agent.files.errors import FilesError
    from jupyter_sky.agent.files.pipe import Pipe
    from jupyter_sky.agent.files.scan import Rules, Tree
    from jupyter_sky.events import Reporter
    from jupyter_sky.link.link import Link

#: Seconds without a byte after which a sync gives up.
TIMEOUT = 60.0
_REPORT_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class SyncStats:
    """What one sync did.

    `files` and `bytes` are those of the tree; `sent_files` and `sent_bytes` those whose content travelled,
    added up over the ranks. `notes` are sentences on what was skipped or changed meanwhile.
    """

    files: int
    sent_files: int
    bytes: int
    sent_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


async def push(
    link: Link,
    local: Path | str,
    remote: str,
    *,
    ranks: Sequence[int],
    ignore: bool = True,
    hidden: Path | None = None,
    report: Reporter | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  # a limit on silence, not on the whole
) -> SyncStats:
    """Copy a folder's contents, or one file, to the same place on nodes.

    Parameters
    ----------
    link
        The link to the cluster.
    local
        A folder, whose contents go into `remote`; or a file, which becomes `remote`, or goes into it if that
        is a folder or ends in a slash.
    remote
        The path on the nodes; `~` and relative paths start at the node's home. Missing parents are made.
    ranks
        The nodes to copy to.
    ignore
        Whether `.skyignore`, or else the `.gitignore` files, say what stays at home.
    hidden
        A folder that stays at home whatever they say, where it lies inside `local`.
    report
        Hears progress in bytes, and notes.
    timeout
        Seconds without a byte after which the sync gives up.

    Raises
    ------
    SyncError
        What could not be read or written, with its path. What had arrived stays, and the next sync continues.
    """
    from jupyter_sky.agent.files import pipe as pipes
    from jupyter_sky.agent.files.errors import FilesError
    from jupyter_sky.agent.files.sender import Sender
    from jupyter_sky.agent.files.service import SENDER_BACKLOG

    started = time.monotonic()
    report = report or SilentReporter()
    path = os.path.expanduser(os.fspath(local))  # noqa: ASYNC240, PTH111  # no disk; keeps a trailing slash
    try:
        tree = await asyncio.to_thread(_scan, path, ignore, hidden)
    except FilesError as error:
        raise _sync_error(f"{path} was not copied", error) from None
    meter = _Meter(report)
    senders: list[Sender] = []

    async def to_rank(rank: int) -> None:
        stream = await link.open(
            "files.push", rank=rank, path=remote, single=bool(tree.single), timeout=timeout
        )

        def work(pipe: Pipe) -> None:
            sender = Sender(tree, pipe, meter.moved)
            senders.append(sender)
            sender.run()

        try:
            await pipes.run(stream, work, timeout=timeout, backlog=SENDER_BACKLOG)
        except FilesError as error:
            raise _sync_error(f"{path} was not copied to {remote} on rank {rank}", error) from None

    await _all([to_rank(rank) for rank in ranks])
    meter.close()
    notes = tuple(dict.fromkeys([*tree.notes, *(note for sender in senders for note in sender.notes)]))
    for note in notes:
        report.log(note)
    _raise_failed(tree.root, [failed for sender in senders for failed in sender.failed])
    return SyncStats(
        files=len(tree.files),
        sent_files=sum(sender.sent_files for sender in senders),
        bytes=tree.total_bytes,
        sent_bytes=sum(sender.sent_bytes for sender in senders),
        seconds=time.monotonic() - started,
        notes=notes,
    )


async def pull(
    link: Link,
    remote: str,
    local: Path | str,
    *,
    rank: int = 0,
    report: Reporter | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  # a limit on silence, not on the whole
) -> SyncStats:
    """Copy a folder's contents, or one file, from a node to this machine.

    The parameters are those of `push`, the other way round. Nothing that the node sends can be written
    outside `local`.

    Raises
    ------
    SyncError
        What could not be read or written, with its path. What had arrived stays, and the next sync continues.
    """
    from jupyter_sky.agent.files import pipe as pipes
    from jupyter_sky.agent.files.errors import FilesError
    from jupyter_sky.agent.files.paths import place_for
    from jupyter_sky.agent.files.receiver import Receiver

    started = time.monotonic()
    report = report or SilentReporter()
    # abspath would drop the trailing slash, which has a meaning.
    path = os.path.join(Path.cwd(), os.path.expanduser(os.fspath(local)))  # noqa: ASYNC240, PTH111, PTH118
    meter = _Meter(report)
    stream = await link.open("files.pull", rank=rank, path=remote, timeout=timeout)

    def work(pipe: Pipe) -> Receiver:
        receiver = Receiver(pipe, lambda single: place_for(path, single), meter.moved)
        receiver.run()
        return receiver

    try:
        receiver = await pipes.run(stream, work, timeout=timeout)
    except FilesError as error:
        raise _sync_error(f"{remote} on rank {rank} was not copied to {path}", error) from None
    meter.close()
    for note in receiver.notes:
        report.log(note)
    _raise_failed(f"{remote} on rank {rank}", receiver.failed)
    return SyncStats(
        files=receiver.files,
        sent_files=receiver.received_files,
        bytes=receiver.total_bytes,
        sent_bytes=receiver.received_bytes,
        seconds=time.monotonic() - started,
        notes=tuple(receiver.notes),
    )


def _scan(path: str, ignore: bool, hidden: Path | None) -> Tree:
    from jupyter_sky.agent.files.scan import refuse_unreadable, scan

    rules: Rules | None = None
    if Path(path).is_dir():
        if ignore:
            from jupyter_sky.link.ignore import IgnoreRules

            rules = IgnoreRules.of(Path(path))
        if hidden is not None and hidden.resolve().is_relative_to(Path(path).resolve()):
            from jupyter_sky.link.ignore import WithoutFolder

            rules = WithoutFolder(hidden.resolve().relative_to(Path(path).resolve()), rules)
    tree = scan(path, rules)
    refuse_unreadable(tree)
    return tree


def _sync_error(what: str, error: FilesError) -> SyncError:
    return SyncError(f"{what}: {error.message}", hint=error.hint)


def _raise_failed(root: str, failed: list[tuple[str, str]]) -> None:
    if failed:
        from jupyter_sky.agent.files.scan import unreadable_error

        error = unreadable_error(root, list(dict.fromkeys(failed)))
        raise SyncError(f"{error.message}\nEverything else was copied.", hint=error.hint)


async def _all(work: list[Any]) -> None:
    """Run side by side; the first failure ends the others, and is the one that is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Meter:
    """Adds up what the worker threads move, and reports from the event loop, not too often."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._done = self._total = 0
        self._reported = 0.0

    def moved(self, done: int, asked: int) -> None:
        """Hear of bytes that arrived and bytes that were newly asked for; called from any thread."""
        with self._lock:
            self._done += done
            self._total += asked
            now = time.monotonic()
            if now - self._reported < _REPORT_EVERY:
                return
            self._reported = now
            values = self._done, self._total
        self._loop.call_soon_threadsafe(self._report.progress, *values, "bytes")

    def close(self) -> None:
        """Report the end."""
        self._report.progress(self._done, self._total, "bytes")
