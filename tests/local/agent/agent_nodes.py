"""Real agents for tests: their folders, processes, certificates, and a client that blocks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from jupyter_sky.agent import process
from jupyter_sky.agent.node import NODE_MARK
from jupyter_sky.agent.wire import FdChannel, Session

if TYPE_CHECKING:
    from pathlib import Path

AGENT = [sys.executable, "-m", "jupyter_sky.agent"]


def wait_until(condition, limit: float = 20.0, what: str = "the condition") -> Any:
    """Look until `condition` gives something true; give that."""
    deadline = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {limit:g} s"
        time.sleep(0.01)


def lives(pid: int | str) -> bool:
    """Say whether a process of this id lives."""
    return process.identity(int(pid)) is not None


class Client:
    """A session with an agent, driven from a thread of its own."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self.session = self._run(self._connect(root), 20)
        except BaseException:
            self._stop()
            raise

    async def _connect(self, root: Path) -> Session:
        async def dial():
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            folder = os.open(root, os.O_RDONLY)
            try:
                await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{folder}/agent.sock")
            except BaseException:
                sock.close()
                raise
            finally:
                os.close(folder)
            return FdChannel.from_socket(sock)

        session = Session(dial)
        await session.start(10)
        return session

    def _run(self, work, limit: float = 60.0):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(limit)

    def call(self, method: str, *, limit: float = 60.0, rank: int | None = None, **params):
        extra = {} if rank is None else {"rank": rank}
        return self._run(self.session.call(method, params, limit, **extra), limit + 5)

    def submit(self, run: str | None = None, *, secrets=None, **fields) -> int:
        spec = {"submission_id": uuid.uuid4().hex, "user": "tester", "task_id": "task-{job_id}", "run": run}
        return self.call("job.submit", spec={**spec, **fields}, secrets=secrets or {})["job_id"]

    def ended(self, job_id: int, limit: float = 30.0) -> dict[str, Any]:
        job = self.call("job.wait", job_id=job_id, until="ended", wait=limit)
        assert job["ended_at"] is not None, f"job {job_id} is {job['status']} after {limit:g} s"
        return job

    def status(self, job_id: int) -> str:
        return self.call("job.get", job_id=job_id)["status"]

    def wait_status(self, job_id: int, status: str) -> None:
        wait_until(lambda: self.status(job_id) == status, what=f"job {job_id} being {status}")

    def log(self, job_id: int | None = None, *, limit: float = 60.0, **fields) -> bytes:
        return self.log_with_head(job_id, limit=limit, **fields)[1]

    def log_with_head(self, job_id: int | None = None, *, limit: float = 60.0, **fields):
        async def fetch():
            stream = await self.session.open({"kind": "logs", "job_id": job_id, **fields})
            head = json.loads(await stream.readline())
            parts = []
            while part := await stream.read():
                parts.append(part)
            return head, b"".join(parts)

        return self._run(fetch(), limit)

    def open(self, kind: str, **fields):
        return self._run(self.session.open({"kind": kind, **fields}))

    def run(self, work, limit: float = 60.0):
        return self._run(work, limit)

    def close(self) -> None:
        try:
            self._run(self.session.close(), 10)
        finally:
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class NodeUnderTest:
    """One node: its folder and its agent."""

    def __init__(self, root: Path, argv: list[str] | None = None, **fields: Any) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(parents=True)
        root.chmod(0o700)
        self.argv = argv or AGENT
        cluster_id = fields.pop("cluster_id", uuid.uuid4().hex)
        rank = fields.get("rank", 0)
        config = {
            "cluster_id": cluster_id,
            "cluster_name": "dev",
            "node_id": f"{cluster_id}-{rank}",
            "rank": rank,
            "num_nodes": 1,
            "ip": "127.0.0.1",
            "listen": None,
            "home": str(self.home),
            "cpus": 4,
            "memory_mb": 1024,
            "gpus": [],
            "tls": None,
            "cluster_info": {"cloud": "local"},
            "lease": None,
            **fields,
        }
        self.node_id = config["node_id"]
        self.ip = config["ip"]
        (root / "node.json").write_text(json.dumps(config))
        self._clients: list[Client] = []

    def serve(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", NODE_MARK: self.node_id}
        done = subprocess.run(
            [*self.argv, "serve", "--root", str(self.root), "--detach"],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    @property
    def ready(self) -> dict[str, Any]:
        return json.loads((self.root / "ready.json").read_text())

    @property
    def pid(self) -> int:
        return self.ready["pid"]

    def kill(self) -> None:
        """Kill the agent as hard as can be."""
        pid, start = self.pid, self.ready["start_time"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not process.is_alive(pid, start), what="the agent's death")

    def client(self) -> Client:
        client = Client(self.root)
        self._clients.append(client)
        return client

    def processes(self) -> set[int]:
        """Everything that carries the node's mark, the agent included."""
        procs = [proc for proc in process.snapshot() if not proc.zombie]
        return process.marked(procs, NODE_MARK, self.node_id)

    def clean(self) -> None:
        while self._clients:
            self._clients.pop().close()
        if (self.root / "node.json").exists():
            subprocess.run([*self.argv, "stop", "--root", str(self.root)], timeout=60, check=False)
        try:
            wait_until(lambda: not self.processes(), 2.0, "the end of the node's last process")
        finally:
            process.send(self.processes(), signal.SIGKILL)

    def files_with(self, text: str) -> list[str]:
        """Every file of the node that holds `text`."""
        found = []
        for path in self.root.rglob("*"):
            if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes():
                found.append(str(path.relative_to(self.root)))
        return found


class ClusterUnderTest:
    """Several nodes on addresses of their own, with certificates of one authority."""

    def __init__(self, folder: Path, num_nodes: int, **fields: Any) -> None:
        from jupyter_sky.link import pki

        self.cluster_id = uuid.uuid4().hex
        authority = pki.make_ca(self.cluster_id)
        octets = os.urandom(2)
        self.nodes = []
        for rank in range(num_nodes):
            ip = f"127.{octets[0]}.{octets[1]}.{rank + 1}"
            root = folder / f"node-{rank}"
            tls = self._write_tls(folder / f"tls-{rank}", authority, f"{self.cluster_id}-{rank}", ip)
            self.nodes.append(
                NodeUnderTest(
                    root,
                    cluster_id=self.cluster_id,
                    rank=rank,
                    num_nodes=num_nodes,
                    ip=ip,
                    listen=f"{ip}:0",
                    tls=tls,
                    **fields,
                )
            )

    @staticmethod
    def _write_tls(folder: Path, authority, node_id: str, ip: str) -> dict[str, str]:
        from jupyter_sky.link import pki

        folder.mkdir()
        cert, key = pki.issue(authority, node_id, [ip])
        for name, data in (("ca", authority.cert_pem), ("cert", cert), ("key", key)):
            (folder / f"{name}.pem").write_bytes(data)
        return {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}

    @property
    def head(self) -> NodeUnderTest:
        return self.nodes[0]

    def peers(self) -> list[dict[str, Any]]:
        found = []
        for rank, node in enumerate(self.nodes):
            found.append({"rank": rank, "ip": node.ip, "host": node.ip, "port": node.ready["port"]})
        return found

    def up(self) -> Client:
        for node in self.nodes:
            node.serve()
        client = self.head.client()
        client.call("node.configure", peers=self.peers())
        return client

    def clean(self) -> None:
        for node in self.nodes:
            node.clean()
