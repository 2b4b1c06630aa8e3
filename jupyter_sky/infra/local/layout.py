"""Where the files of local clusters lie, and how they are written and removed.

    <home>/local-allocations.json       who holds which addresses and GPUs
    <home>/local/<cluster_id>/          one cluster
        cluster.json                    made first, removed last: while it is there, the cluster is
        node-<rank>/                    one sandbox: the agent's root; its `home/` is the HOME of the tasks

Everything is private to its owner. A JSON file is replaced whole, so that a reader never sees half of one.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The infra's name, which is also that of the folder of all its clusters.
NAME = "local"

#: What may be the name of a cluster's folder; a handle comes from a database and is not believed blindly.
_CLUSTER_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """What `cluster.json` says: enough to find, start and show a cluster that no database knows.

    `prepared` is false until every node's folder, certificate and `node.json` are complete; no agent runs
    before.
    """

    cluster_id: str
    cluster_name: str
    owner: str
    num_nodes: int
    offer: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)
    created_at: float = 0.0
    prepared: bool = False


class ClusterFolder:
    """The folder of one cluster below `<home>/local`."""

    def __init__(self, local: Path, cluster_id: str) -> None:
        if not _CLUSTER_ID.fullmatch(cluster_id):
            raise InfraError(f"{cluster_id!r} cannot be the id of a local cluster.")
        self.cluster_id = cluster_id
        self.path = local / cluster_id
        self.marker = self.path / "cluster.json"

    def read(self) -> ClusterFile | None:
        """Give what `cluster.json` says; None where the cluster is not there."""
        raw = read_json(self.marker)
        return None if raw is None else ClusterFile(**raw)

    def write(self, content: ClusterFile) -> None:
        """Write `cluster.json`, making the folder where it is not there."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        write_json(self.marker, asdict(content))

    def node(self, rank: int) -> NodeFolder:
        """Give the sandbox of one node."""
        return NodeFolder(self.path / f"node-{rank}", f"{self.cluster_id}-{rank}")


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The sandbox of one node: its path is the root of its agent."""

    path: Path
    node_id: str

    @property
    def home(self) -> Path:
        """HOME of everything that runs on the node."""
        return self.path / "home"

    def tls(self, what: str) -> Path:
        """Give the path of `ca`, `cert` or `key`."""
        return self.path / "tls" / f"{what}.pem"

    @property
    def config(self) -> Path:
        """What the agent is told before it starts."""
        return self.path / "node.json"

    @property
    def ready(self) -> Path:
        """What the agent writes when it serves."""
        return self.path / "ready.json"

    @property
    def ending(self) -> Path:
        """What is there while the node stops itself."""
        return self.path / "ending.json"

    @property
    def ended(self) -> Path:
        """The tombstone that tells why a node was stopped."""
        return self.path / "ended.json"

    @property
    def log(self) -> Path:
        """What the agent says about itself."""
        return self.path / "agent.log"


def read_json(path: Path | str) -> dict[str, Any] | None:
    """Give a JSON object from a file; None where there is none that can be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- `query` reads thousands, and Path.open doubles its time
            raw = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file whole, private to its owner."""
    write_private(path, json.dumps(content, indent=1).encode())


def write_private(path: Path, content: bytes) -> None:
    """Replace a file whole with mode 0600.

    The draft's name is fixed, because every file here has one writer at a time: what a kill leaves behind is
    written over by the next.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        with open(draft, "wb", opener=_private) as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def cluster_folders(local: Path) -> Iterator[ClusterFolder]:
    """Give every cluster folder that is there, whole or half made."""
    try:
        with os.scandir(local) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    for name in names:
        if _CLUSTER_ID.fullmatch(name):
            yield ClusterFolder(local, name)


def remove_tree(path: Path) -> None:
    """Remove a folder and all below it, also where a task took its own right to write; no link is followed.

    Raises
    ------
    OSError
        Something is left, for example a mount or another person's file.
    """
    import shutil

    def make_removable(folder: Path) -> None:
        for place, folders, _ in os.walk(folder):
            for name in folders:
                inner = os.path.join(place, name)  # noqa: PTH118 -- os.walk speaks in strings
                if not os.path.islink(inner):  # noqa: PTH114 -- likewise
                    os.chmod(inner, stat.S_IRWXU)  # noqa: PTH101 -- likewise

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        path.chmod(stat.S_IRWXU)
        make_removable(path)
        shutil.rmtree(path)
