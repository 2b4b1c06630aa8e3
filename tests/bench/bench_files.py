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
from pathlib import Path
from typing import TYPE_CHECKING

from bench_table import Row, print_table

from jupyter_sky.link.carriers import LocalCarrier
from jupyter_sky.link.files import SyncStats, pull, push
from jupyter_sky.link.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable

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


async def measure(folder: Path) -> list[Row]:
    """Give the rows of the table, and fail where a sync sent more than it had to."""
    small, large = folder / "small", folder / "large"
    make_small(small)
    large.mkdir()
    make_large(large / "model.bin")
    copy_small = timed(lambda: shutil.copytree(small, folder / "copy"))
    copy_large = timed(lambda: shutil.copy(large / "model.bin", folder / "copy.bin"))
    (folder / "copy.bin").unlink()
    shutil.rmtree(folder / "copy")
    rows = [
        Row("shutil.copytree of 10,000 x 1 KB", copy_small, "s"),
        Row("shutil.copy of 1 GB", LARGE / 1e6 / copy_large, "MB/s"),
    ]

    def small_row(what: str, stats: SyncStats, bar: str, source: Path | None = None) -> None:
        rows.append(Row(f"{FILES:,} x 1 KB, {what}", stats.seconds, "s", bar, stats.seconds / copy_small))
        beside(f"{FILES:,} x 1 KB, {what}", source)

    def large_row(what: str, stats: SyncStats, bar: str, source: Path | None = None) -> None:
        speed = LARGE / 1e6 / stats.seconds
        rows.append(Row(f"1 GB, {what}", speed, "MB/s", bar, stats.seconds / copy_large))
        beside(f"1 GB, {what}", source)

    def beside(what: str, source: Path | None) -> None:
        took = rsync(f"{source}/", f"{folder}/rsync-{source.name}") if source else None
        if took is not None:
            rows.append(Row(f"  rsync -a, {what}", took, "s"))

    link = await Link.connect(LocalCarrier([sys.executable, str(NODE), str(folder / "homes")]))
    try:
        small_row("first", await push(link, small, "s", ranks=[0]), "≤ 4", small)
        small_row("unchanged", await push(link, small, "s", ranks=[0]), "≤ 0.7", small)
        for path in small.rglob("*.txt"):
            path.touch()
        stats = await push(link, small, "s", ranks=[0])
        assert stats.sent_files == 0, stats
        small_row("all touched", stats, "", small)
        small_row("pulled", await pull(link, "s", folder / "back"), "≤ 4")
        large_row("first", await push(link, large, "l", ranks=[0]), "≥ 200", large)
        with (large / "model.bin").open("r+b") as file:
            file.seek(LARGE // 2)
            file.write(b"changed")
        stats = await push(link, large, "l", ranks=[0])
        assert stats.sent_bytes == 1 << 20, stats
        large_row("7 bytes changed", stats, "", large)
        large_row("pulled", await pull(link, "l", folder / "back-large"), "≥ 200")
    finally:
        await link.close()
    return rows


def main() -> int:
    """Print the table; give 1 if a bar was missed."""
    with tempfile.TemporaryDirectory(prefix="bench-files-") as folder:
        rows = asyncio.run(measure(Path(folder)))
    print_table("File sync over a local link (ratio: to a plain copy by shutil)", rows)
    return int(any(row.holds() is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
