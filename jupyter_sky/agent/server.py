"""The agent itself: puts the parts of a node together, listens, and ends it all in order.

A head has a queue, an autostop and connections to its workers; a worker has a runner and answers its head.
Both end the same way: jobs first, then the workers, then every process of the node, then the word why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Set, Tuple

from . import process
from .autostop import Autostop
from .children import Children
from .cluster import Cluster
from .ending import erase, is_relay, node_processes
from .jobs import JobQueue
from .keeper import Keepers
from .node import ENDING, SOCKET, Node, NodeError, write_json, write_tombstone
from .ranks import LocalRank, rank_calls
from .runner import Runner
from .signals import Signal
from .store import Store, StoreError
from .streams import Streams
from .version import VERSION, bundle_hash
from .wire import CallError, Channel, FdChannel, ProtocolError, SessionHost

if TYPE_CHECKING:
    from .daemon import Launcher
    from .journal import Journal

_WORKER_END_LIMIT = 40.0
_BACKLOG = 128


class Agent:
    """One agent in its process; `serve` runs it."""

    def __init__(self, node: Node, journal: Journal) -> None:
        self.node = node
        self.journal = journal
        self.started_at = time.time()
        self.queue: Optional[JobQueue] = None
        self.autostop: Optional[Autostop] = None
        self.cluster: Optional[Cluster] = None
        self._store: Optional[Store] = None
        self._children = Children()
        self.runner = Runner(node, self._children, journal)
        self._relays: Set[int] = set()
        self._tasks: Set[asyncio.Future[Any]] = set()
        self._ending: Optional[asyncio.Future[None]] = None
        self._all_gone = False
        self._done = Signal()
        if node.is_head:
            self._be_head()
        self._host = SessionHost(Streams(self, self._methods()).serve)

    def _be_head(self) -> None:
        node = self.node
        self._store = Store(node.path("agent.db"))
        self.cluster = Cluster(node, LocalRank(self.runner), self._on_worker)
        keepers = Keepers(node, self._children)
        self.queue = JobQueue(node, self._store, keepers, self.cluster, self.runner, self.journal)
        self.autostop = Autostop(node, self._store, self.queue, self._children, self.journal, self.end)

    async def serve(self, launcher: Launcher) -> None:
        """Serve until the node is ended. Raises `NodeError` where it cannot begin."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_defect)
        for number, reason in ((signal.SIGTERM, "stop"), (signal.SIGINT, "stop")):
            loop.add_signal_handler(number, self._end_soon, reason)
        tls, port = await self._listen_tls()
        self._hold(self._accept(self._listen_unix()))
        was_ended = self._take_up()
        ready = {
            "pid": os.getpid(),
            "start_time": process.identity(os.getpid()),
            "boot_id": process.boot_id(),
            "port": port,
            "version": VERSION,
            "hash": bundle_hash(),
            "started_at": self.started_at,
        }
        try:
            write_json(self.node.path("ready.json"), ready)
            if was_ended:
                os.unlink(self.node.path("ended.json"))
        except OSError as error:
            raise NodeError(f"{self.node.root} cannot be served: {error}") from None
        self.journal.write(f"serving {self.node.node_id}, process {os.getpid()}, version {VERSION}")
        launcher.tell(0)
        while not self._all_gone:
            await self._done.wait()
        await self._close(tls)

    def _take_up(self) -> bool:
        """Go on where an earlier agent stopped; say whether it had ended the node."""
        was_ended = os.path.exists(self.node.path("ended.json"))
        # An autostop that was cut short begins anew, if it is still meant.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.node.path(ENDING))
        if self.queue is not None and self.autostop is not None and self.cluster is not None:
            try:
                self.cluster.load()
                self.queue.recover()
                self.autostop.begin(fresh=was_ended)
            except StoreError as error:
                raise NodeError(f"{self.node.root} cannot be served: {error}") from None
        return was_ended

    async def _close(self, tls: Optional[asyncio.AbstractServer]) -> None:
        for task in self._tasks:
            task.cancel()
        if tls is not None:
            tls.close()
        await self._host.close()
        if self.queue is not None and self.autostop is not None and self.cluster is not None:
            await self.autostop.close()
            await self.queue.close()
            await self.cluster.close()
        if self._store is not None:
            self._store.close()
        self._children.close()

    # --- listening ---

    def _listen_unix(self) -> socket.socket:
        # A socket's path may have about 100 characters: from within the root it always fits.
        os.chdir(self.node.root)
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        mask = os.umask(0o177)
        try:
            listener.bind(SOCKET)
        except OSError as error:
            raise NodeError(f"{self.node.path(SOCKET)} cannot be made: {error}") from None
        finally:
            os.umask(mask)
        listener.listen(_BACKLOG)
        return listener

    async def _listen_tls(self) -> Tuple[Optional[asyncio.AbstractServer], int]:
        """Listen for the other nodes, where there are any; give the server and its port (0: none)."""
        if self.node.listen is None or self.node.tls is None:
            return None, 0
        from .wire import listen_tls, server_context

        host, _, port = self.node.listen.rpartition(":")
        tls = self.node.tls
        try:
            # Only the cluster's own authority counts, so whoever gets through is a node of this cluster.
            context = server_context(tls["ca"], tls["cert"], tls["key"])
            server: Any = await listen_tls(host.strip("[]"), int(port), context, self._attach)
        except (OSError, ValueError) as error:
            raise NodeError(f"The agent cannot listen on {self.node.listen}: {error}") from None
        return server, server.sockets[0].getsockname()[1]

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    sock, _ = await loop.sock_accept(listener)
                except OSError as error:  # out of descriptors: others will be closed
                    self.journal.write(f"a connection could not be accepted: {error}")
                    await asyncio.sleep(0.1)
                    continue
                self._hold(self._attach_unix(sock))

    async def _attach_unix(self, sock: socket.socket) -> None:
        pid = _peer_pid(sock)
        self._relays.add(pid)
        try:
            await self._attach(FdChannel.from_socket(sock))
        finally:
            self._relays.discard(pid)

    async def _attach(self, channel: Channel) -> None:
        try:
            await self._host.attach(channel)
        except ProtocolError as error:
            self.journal.write(f"a connection was refused: {error}")

    # --- ending ---

    async def end(self, reason: str) -> None:
        """End the node; return when every process of it is gone. Asked again, it waits with the rest.

        Parameters
        ----------
        reason
            `stop`, `down`, `autostop`, or `autodown`, which also deletes the node's files.
        """
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(reason))
        await asyncio.shield(self._ending)

    async def _end(self, reason: str) -> None:
        self.journal.write(f"ending the node: {reason}")
        if self.queue is not None and self.cluster is not None:
            self.queue.closed = (
                self.queue.closed or f"cluster {self.node.cluster_name} is being ended ({reason})"
            )
            await self.queue.cancel(None)
            await asyncio.gather(*(self._end_worker(rank, reason) for rank in self.cluster.peers))

        def left() -> Set[int]:
            relays = [pid for pid in self._relays if is_relay(pid)]
            return node_processes(self.node.node_id, os.getpid(), relays)

        stuck = await self._children.end(left)
        if stuck:
            self.journal.write(f"processes {sorted(stuck)} did not end")
        write_tombstone(self.node, reason)
        if reason == "autodown":
            erase(self.node)
        if reason in ("autostop", "autodown"):
            self._finish()

    async def _end_worker(self, rank: int, reason: str) -> None:
        from .peers import PeerLostError

        assert self.cluster is not None
        asking = self.cluster.peers[rank].ask("node.shutdown", {"reason": reason}, _WORKER_END_LIMIT)
        try:
            await asyncio.wait_for(asking, _WORKER_END_LIMIT)
        except (CallError, PeerLostError, asyncio.TimeoutError) as error:
            self.journal.write(f"worker {rank} was not told to end: {error}")

    def _end_soon(self, reason: str) -> None:
        async def end_and_finish() -> None:
            await self.end(reason)
            self._finish()

        self._hold(end_and_finish())

    def answered(self) -> None:
        """Learn that a call was answered: the agent does not end before the call that asked for it is."""
        if self._ending is not None and self._ending.done():
            self._finish()

    def _finish(self) -> None:
        self._all_gone = True
        self._done.fire()

    # --- calls ---

    def _methods(self) -> Mapping[str, Any]:
        methods: Dict[str, Any] = {"node.info": self._info, "node.shutdown": self._shutdown}
        methods.update(rank_calls(self.runner))
        if self.queue is not None and self.autostop is not None and self.cluster is not None:
            from .calls import head_calls

            methods.update(head_calls(self.queue, self.autostop, self.cluster))
        return methods

    async def _info(self, _params: Dict[str, Any]) -> Dict[str, Any]:
        node, queue, autostop = self.node, self.queue, self.autostop
        return {
            "agent": {
                "version": VERSION,
                "hash": bundle_hash(),
                "pid": os.getpid(),
                "started_at": self.started_at,
            },
            "cluster_id": node.cluster_id,
            "cluster_name": node.cluster_name,
            "node_id": node.node_id,
            "rank": node.rank,
            "num_nodes": node.num_nodes,
            "ips": [node.ip] if self.cluster is None else self.cluster.ips,
            "cpus": node.cpus,
            "memory_mb": node.memory_mb,
            "gpus": node.gpus,
            "jobs_active": 0 if queue is None else queue.active_count,
            "autostop": None if autostop is None else autostop.get(),
            "idle_since": None if autostop is None else autostop.idle_since,
            "home": node.home,
        }

    async def _shutdown(self, params: Dict[str, Any]) -> Dict[str, Any]:
        reason = params.get("reason")
        if reason not in ("stop", "down", "autostop", "autodown"):
            raise CallError("bad_params", f"{reason!r} is no reason to end a node")
        await self.end(reason)
        return {}

    async def _on_worker(self, peer: Any) -> None:
        if self.queue is not None:
            await peer.tell("rank.sync", self.queue.worker_view(), 10.0)

    def _hold(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_defect(self, _loop: asyncio.AbstractEventLoop, context: Dict[str, Any]) -> None:
        self.journal.write(str(context.get("message")), context.get("exception"))


def _peer_pid(sock: socket.socket) -> int:
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (AttributeError, OSError):  # not Linux
        return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def serve(node: Node, journal: Journal, launcher: Launcher) -> int:
    """Run the agent of a node until it is ended; give the exit code."""
    process.become_subreaper()

    async def main() -> None:
        await Agent(node, journal).serve(launcher)

    try:
        asyncio.run(main())
    except (NodeError, StoreError) as error:
        journal.write(f"cannot serve: {error}")
        launcher.tell(getattr(error, "exit_code", 1), str(error))
        return getattr(error, "exit_code", 1)
    return 0
