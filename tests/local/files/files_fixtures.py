"""A node in a process of its own, and a look at trees that sees all a sync must keep."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest

from jupyter_sky.link import files
from jupyter_sky.link.carriers import LocalCarrier
from jupyter_sky.link.link import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")

NODE = Path(__file__).parent / "files_node.py"
#: A user without any rights, for the tests of rights when they run as root.
NOBODY = 65534


class Seen(NamedTuple):
    """What one path is: its kind, permission bits, time, and content or the goal of a link."""

    kind: str
    mode: int
    mtime_ns: int
    content: bytes


def look(root: Path | bytes) -> dict[bytes, Seen]:
    """Give everything below `root`, which is read through descriptors so that paths may be endless."""
    found: dict[bytes, Seen] = {}

    def enter(fd: int, prefix: bytes) -> None:
        for name in map(os.fsencode, os.listdir(fd)):
            info = os.lstat(name, dir_fd=fd)
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISLNK(info.st_mode):
                found[prefix + name] = Seen("link", 0, info.st_mtime_ns, os.readlink(name, dir_fd=fd))
            elif stat.S_ISDIR(info.st_mode):
                found[prefix + name] = Seen("folder", mode, info.st_mtime_ns, b"")
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                try:
                    enter(below, prefix + name + b"/")
                finally:
                    os.close(below)
            elif stat.S_ISREG(info.st_mode):
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
                    found[prefix + name] = Seen("file", mode, info.st_mtime_ns, file.read())
            else:
                found[prefix + name] = Seen("odd", mode, info.st_mtime_ns, b"")

    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        enter(top, b"")
    finally:
        os.close(top)
    return found


class Node:
    """Syncs with a node whose ranks have their homes in `homes`."""

    def __init__(self, homes: Path) -> None:
        self.homes = homes
        self.home = homes / "rank-0"
        self.home.mkdir(parents=True)
        self.env: dict[str, str] = {}

    def run(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """Run `work` with a link to a fresh process of the node."""

        async def connected() -> T:
            env = {**os.environ, **self.env}
            link = await Link.connect(LocalCarrier([sys.executable, str(NODE), str(self.homes)], env))
            try:
                return await work(link)
            finally:
                await link.close()

        return asyncio.run(asyncio.wait_for(connected(), 120))

    def push(self, local: Path | str, remote: str, **options: Any) -> files.SyncStats:
        """Push to rank 0, or to `ranks`."""
        return self.run(lambda link: files.push(link, local, remote, **{"ranks": [0], **options}))

    def pull(self, remote: str, local: Path | str, **options: Any) -> files.SyncStats:
        """Pull from rank 0, or from `rank`."""
        return self.run(lambda link: files.pull(link, remote, local, **options))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Give a node, and see that it leaves nothing in staging."""
    made = Node(tmp_path / "homes")
    yield made
    staging = ".jupyter-sky-sync"
    for folder in [*made.homes.glob(f"*/{staging}"), *made.homes.glob(f"*/*/{staging}")]:
        assert all(path.name.startswith("p-") for path in folder.iterdir()), "a sync left its staging folder"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a folder with one of everything."""
    root = tmp_path / "tree"
    (root / "a folder" / "deeper").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o711)
    (root / "a folder" / "file.txt").write_text("hello")
    (root / "a folder" / "deeper" / "run.sh").write_text("#!/bin/sh\n")
    (root / "a folder" / "deeper" / "run.sh").chmod(0o755)
    (root / "nothing").touch()
    (root / "private").write_text("x")
    (root / "private").chmod(0o600)
    (root / "link").symlink_to("a folder/file.txt")
    (root / "dangling").symlink_to("/no/such/place")
    (root / "to-folder").symlink_to("a folder")
    (root / "line\nbreak and \t").write_text("odd")
    Path(os.fsdecode(os.fsencode(root) + b"/not-utf8-\xff\xfe")).write_text("bytes")
    (root / "ünïcödé 日本").write_text("text")
    (root / "large.bin").write_bytes(os.urandom((5 << 20) + 123))
    for index, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(10**18 + index, 10**18 + index * 1_000_000_007), follow_symlinks=False)
    return root
