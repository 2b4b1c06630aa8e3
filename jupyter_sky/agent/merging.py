"""Following every rank's log of a job and writing the merged one.

The pieces come with the process id they belong to, because only the node itself knows exactly where the
output of `setup` ends and that of `run` begins. A worker sends them framed over a stream of kind `rank.log`;
when its agent is restarted, the stream is opened again where the merged log stands.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Awaitable, Callable, List, Optional, Sequence

from .merge import Merged, prefix_of, whole_lines
from .params import whole
from .peers import Peer, PeerLostError
from .wire import SessionClosed, Stream, StreamReset

if TYPE_CHECKING:
    from .journal import Journal
    from .runner import Runner

Take = Callable[[int, bytes], Awaitable[None]]
_FRAME = struct.Struct("!II")
_RETRY = 0.5


async def copy_pieces(runner: Runner, job_id: int, offset: int, take: Take) -> None:
    """Hand the log of this node's rank from `offset` to its end on to `take`, as (process id, bytes)."""
    position = offset

    async def split(data: bytes) -> None:
        nonlocal position
        starts = runner.starts(job_id)
        while data:
            pid = max([start for start in starts if start[0] <= position], default=(0, 0))[1]
            end = min([start[0] for start in starts if start[0] > position], default=position + len(data))
            piece = data[: end - position]
            data = data[len(piece) :]
            position += len(piece)
            await take(pid, piece)

    await runner.log(job_id).copy(offset, split, follow=True)


async def send_pieces(stream: Stream, runner: Runner) -> None:
    """Serve a `rank.log` stream to the head."""

    async def frame(pid: int, data: bytes) -> None:
        await stream.write(_FRAME.pack(pid, len(data)) + data)

    await copy_pieces(runner, whole(stream.header, "job_id"), whole(stream.header, "offset"), frame)
    await stream.write_eof()


class LocalPieces:
    """The pieces of this node's own rank."""

    def __init__(self, runner: Runner, job_id: int) -> None:
        self._runner = runner
        self._job_id = job_id

    async def copy(self, offset: int, take: Take) -> None:
        """Hand everything from `offset` to the end on to `take`."""
        await copy_pieces(self._runner, self._job_id, offset, take)


class RemotePieces:
    """The pieces of a worker's rank."""

    def __init__(self, peer: Peer, job_id: int) -> None:
        self._peer = peer
        self._job_id = job_id

    async def copy(self, offset: int, take: Take) -> None:
        """Hand everything from `offset` on to `take`. Raises `PeerLostError`, or `StreamReset`: try again."""
        stream = await self._peer.open({"kind": "rank.log", "job_id": self._job_id, "offset": offset})
        try:
            await stream.write_eof()
            await self._peer.while_there(_read_frames(stream, take))
        finally:
            await stream.close()


async def _read_frames(stream: Stream, take: Take) -> None:
    while True:
        try:
            head = await stream.readexactly(_FRAME.size)
        except StreamReset as reset:
            if reset.code == "eof":
                return
            raise
        pid, length = _FRAME.unpack(head)
        await take(pid, await stream.readexactly(length))


class Merger:
    """Writes the merged log of one job; `done` completes when every rank's log is in.

    Parameters
    ----------
    path
        The merged log.
    sources
        The pieces of each rank.
    is_active
        Whether the job still runs: a worker that is lost is waited for only so long.
    """

    def __init__(
        self,
        path: str,
        sources: Sequence["LocalPieces | RemotePieces"],
        is_active: Callable[[], bool],
        journal: Journal,
    ) -> None:
        self._merged = Merged(path, len(sources))
        self._sources = sources
        self._is_active = is_active
        self._journal = journal
        self._lock = asyncio.Lock()
        self.done = asyncio.ensure_future(self._run())

    @property
    def is_complete(self) -> bool:
        """Whether the log was merged to its end."""
        return self._merged.is_complete

    async def _run(self) -> None:
        try:
            if self._merged.is_complete:
                return
            await self._finish_last()
            following = [asyncio.ensure_future(self._follow(rank)) for rank in range(len(self._sources))]
            try:
                await asyncio.gather(*following)
            finally:
                for task in following:
                    task.cancel()
            self._merged.complete()
        except OSError as error:
            self._journal.write(f"the merged log cannot be completed: {error}")
        finally:
            self._merged.close()

    async def _finish_last(self) -> None:
        unfinished = self._merged.unfinished()
        if unfinished is None:
            return
        rank, begin, end = unfinished
        found = bytearray()
        enough = asyncio.get_running_loop().create_future()

        async def take(_pid: int, data: bytes) -> None:
            found.extend(data)
            if len(found) >= end - begin and not enough.done():
                enough.set_result(None)

        reading = asyncio.ensure_future(self._copy(rank, lambda: begin + len(found), take))
        await asyncio.wait({reading, enough}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        await asyncio.wait({reading})
        self._merged.finish(bytes(found[: end - begin]))

    async def _follow(self, rank: int) -> None:
        carry = bytearray()
        of_pid: Optional[int] = None

        async def flush(final: bool) -> None:
            size = whole_lines(bytes(carry), final)
            if size:
                await self._append(rank, bytes(carry[:size]), prefix_of(rank, of_pid or 0))
                del carry[:size]

        async def take(pid: int, data: bytes) -> None:
            nonlocal of_pid
            if pid != of_pid:
                await flush(True)
                of_pid = pid
            carry.extend(data)
            await flush(False)

        await self._copy(rank, lambda: self._merged.offset(rank) + len(carry), take)
        await flush(True)

    async def _copy(self, rank: int, position: Callable[[], int], take: Take) -> None:
        """Copy a rank's pieces, again from `position` whenever its stream breaks."""
        while True:
            try:
                await self._sources[rank].copy(position(), take)
                return
            except StreamReset as reset:
                self._journal.write(f"the log of rank {rank} is asked for again: {reset.message}")
            except (PeerLostError, SessionClosed) as error:
                if not self._is_active():
                    self._journal.write(f"the end of the log of rank {rank} is missing: {error}")
                    return
            await asyncio.sleep(_RETRY)

    async def _append(self, rank: int, data: bytes, prefix: bytes) -> None:
        async with self._lock:
            while True:
                try:
                    if self._merged.unfinished() is not None:
                        self._merged.finish(data)
                    else:
                        self._merged.append(rank, data, prefix)
                    return
                except OSError as error:
                    self._journal.write(f"the merged log waits for room: {error}")
                    if not self._is_active():
                        raise
                await asyncio.sleep(_RETRY)


def sources_of(
    runner: Runner, peers: "dict[int, Peer]", job_id: int, num_nodes: int
) -> List["LocalPieces | RemotePieces"]:
    """Give the pieces of all ranks of a job."""
    remote = [RemotePieces(peers[rank], job_id) for rank in range(1, num_nodes)]
    return [LocalPieces(runner, job_id), *remote]
