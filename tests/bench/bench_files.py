"""File sync: many small files, and one large one, beside the copies that the machine itself can do.

The node is a process of its own behind the link's own pipes, both in one folder of this machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from jupyter_sky.link.carriers import LocalCarrier
from jupyter_sky.link.files import SyncStats, pull, push
from jupyter_sky.link.link import Link

NODE = Path(__file__).parents[1] / "local" / "files" / "files_node.py"
FILES, FILE_SIZE = 10_000, 1024
LARGE = 1 << 30


def make_small(root: Path) -> None:
    """Make 10,000 files of 1 KB in 100 folders."""
    for index in range(FILES):
        folder = root / f"folder-{index % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{index}.txt").write_bytes(os.urandom(FILE_SIZE))


def make_large(path: Path) -> None:
    """Make a file of 1 GB that nothing can compress."""
    piece = os.urandom(1 << 20)
    with path.open("wb") as file:
        for index in range(LARGE >> 20):
            file.write(index.to_bytes(8, "big"))
            file.write(piece[8:])


def rsync(*argv: str) -> float | None:
    """Give the seconds that rsync takes, or None where it is not installed."""
    if shutil.which("rsync") is None:
        return None
    started = time.perf_counter()
    subprocess.run(["rsync", "-a", *argv], check=True)
    return time.perf_counter() - started


def timed(work: Callable[[], object]) -> float:
    """Give the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def measure(folder: Path) -> list[tuple[str, float, float, float | None, str]]:
    """Give rows of (what, seconds, bar, rsync's seconds, the yardstick measured in this run)."""
    small, large, homes = folder / "small", folder / "large", folder / "homes"
    make_small(small)
    large.mkdir()
    make_large(large / "model.bin")
    copy_small = timed(lambda: shutil.copytree(small, folder / "copy"))
    copy_large = timed(lambda: shutil.copy(large / "model.bin", folder / "copy.bin"))
    (folder / "copy.bin").unlink()
    shutil.rmtree(folder / "copy")
    link = await Link.connect(LocalCarrier([sys.executable, str(NODE), str(homes)]))
    rows: list[tuple[str, float, float, float | None, str]] = []

    async def row(
        what: str, bar: float, sync: Awaitable[SyncStats], other: float | None, copy: float
    ) -> SyncStats:
        stats = await sync
        rows.append(
            (what, stats.seconds, bar, other, f"{stats.seconds / copy:.2f}x a plain copy of {copy:.2f} s")
        )
        return stats

    try:
        await row(
            "10,000 x 1 KB, first",
            4.0,
            push(link, small, "~/s", ranks=[0]),
            rsync(f"{small}/", f"{folder}/r"),
            copy_small,
        )
        await row(
            "10,000 x 1 KB, unchanged",
            0.7,
            push(link, small, "~/s", ranks=[0]),
            rsync(f"{small}/", f"{folder}/r"),
            copy_small,
        )
        for path in small.rglob("*.txt"):
            path.touch()
        await row(
            "10,000 x 1 KB, touched",
            4.0,
            push(link, small, "~/s", ranks=[0]),
            rsync(f"{small}/", f"{folder}/r"),
            copy_small,
        )
        await row("10,000 x 1 KB, pulled", 4.0, pull(link, "~/s", folder / "back"), None, copy_small)
        bar = LARGE / 200e6
        await row(
            "1 GB, first",
            bar,
            push(link, large, "~/l", ranks=[0]),
            rsync(f"{large}/", f"{folder}/rl"),
            copy_large,
        )
        with (large / "model.bin").open("r+b") as file:
            file.seek(LARGE // 2)
            file.write(b"changed")
        stats = await row(
            "1 GB, 7 bytes changed",
            bar,
            push(link, large, "~/l", ranks=[0]),
            rsync(f"{large}/", f"{folder}/rl"),
            copy_large,
        )
        assert stats.sent_bytes == 1 << 20, stats
        await row("1 GB, pulled", bar, pull(link, "~/l", folder / "back-large"), None, copy_large)
    finally:
        await link.close()
    return rows


def main() -> int:
    """Print the table; give 1 if a bar was missed."""
    with tempfile.TemporaryDirectory(prefix="bench-files-") as folder:
        rows = asyncio.run(measure(Path(folder)))
    print(f"{'sync':<26} {'seconds':>8} {'bar':>6} {'rsync -a':>9}  beside")
    for what, seconds, bar, other, beside in rows:
        shown = "-" if other is None else f"{other:.2f}"
        print(
            f"{what:<26} {seconds:8.2f} {bar:6.2f} {shown:>9}  {beside}{'' if seconds <= bar else '  MISSED'}"
        )
    return int(any(seconds > bar for _, seconds, bar, _, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
