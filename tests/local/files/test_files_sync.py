"""What a sync keeps, what it sends, and where things go; against a real process over a real link."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest
from files_fixtures import Node, look

from jupyter_sky.errors import SyncError
from jupyter_sky.events import SilentReporter
from jupyter_sky.link import files

if TYPE_CHECKING:
    from pathlib import Path


def test_there_and_back_keeps_everything(node: Node, tree: Path, tmp_path: Path) -> None:
    stats = node.push(tree, "~/sky_workdir")
    assert look(node.home / "sky_workdir") == look(tree)
    assert stats.files == stats.sent_files == 8
    assert (
        stats.bytes
        == stats.sent_bytes
        == sum(len(seen.content) for seen in look(tree).values() if seen.kind == "file")
    )
    node.pull("~/sky_workdir/", tmp_path / "back")
    assert look(tmp_path / "back") == look(tree)


def test_unchanged_sends_nothing(node: Node, tree: Path) -> None:
    node.push(tree, "w")
    again = node.push(tree, "w")
    assert (again.files, again.sent_files, again.sent_bytes) == (8, 0, 0)
    assert not (node.home / "w" / ".jupyter-sky-sync").exists()


def test_touched_files_do_not_travel_but_their_times_do(node: Node, tree: Path) -> None:
    node.push(tree, "w")
    for path in (tree / "private", tree / "large.bin"):
        os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    (tree / "private").chmod(0o640)
    (tree / "nothing").chmod(0o444)
    assert node.push(tree, "w").sent_bytes == 0
    assert look(node.home / "w") == look(tree)


def test_same_size_same_time_wins_as_in_rsync_and_other_content_travels(node: Node, tree: Path) -> None:
    node.push(tree, "w")
    (tree / "private").write_text("y")
    stats = node.push(tree, "w")
    assert (stats.sent_files, stats.sent_bytes) == (1, 1)
    assert look(node.home / "w") == look(tree)


def test_only_changed_blocks_of_a_large_file_travel(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    data = bytearray(os.urandom(20 << 20))
    (source / "model").write_bytes(data)
    node.push(source, "w")
    data[7 << 20] ^= 1
    del data[(19 << 20) + 5 :]
    (source / "model").write_bytes(data)
    assert node.push(source, "w").sent_bytes == (1 << 20) + 5
    assert look(node.home / "w") == look(source)
    data += os.urandom(3 << 20)
    (source / "model").write_bytes(data)
    assert node.push(source, "w").sent_bytes == (3 << 20) + 5  # with the last, shorter block
    assert look(node.home / "w") == look(source)


def test_sparse_files_stay_sparse_and_travel_fast(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "disk.img").open("wb") as file:
        file.truncate(3 << 30)
        file.seek((1 << 30) + 12345)
        file.write(b"here")
    stats = node.push(source, "w")
    assert stats.sent_bytes == 1 << 20
    arrived = node.home / "w" / "disk.img"
    info = arrived.stat()
    assert info.st_size == 3 << 30
    assert info.st_blocks * 512 <= 4 << 20
    with arrived.open("rb") as file:
        file.seek((1 << 30) + 12340)
        assert file.read(20) == b"\0" * 5 + b"here" + b"\0" * 11


def test_zeros_replace_what_was_there(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(os.urandom(8 << 20))
    node.push(source, "w")
    with (source / "f").open("r+b") as file:
        file.seek(2 << 20)
        file.write(bytes(3 << 20))
    assert node.push(source, "w").sent_bytes == 0
    assert look(node.home / "w") == look(source)


def test_nothing_is_deleted(node: Node, tree: Path) -> None:
    (node.home / "w" / "a folder").mkdir(parents=True)
    (node.home / "w" / "a folder" / "result.csv").write_text("1,2")
    node.push(tree, "w")
    assert (node.home / "w" / "a folder" / "result.csv").read_text() == "1,2"


def test_what_is_in_the_way_is_replaced_but_never_a_full_folder(
    node: Node, tree: Path, tmp_path: Path
) -> None:
    there = node.home / "w"
    outside = tmp_path / "outside"
    outside.mkdir()
    there.mkdir()
    (there / "empty").write_text("a file where a folder goes")
    (there / "a folder").symlink_to(outside)
    (there / "nothing").mkdir()
    (there / "link").write_text("a file where a link goes")
    (there / "private").symlink_to(outside / "stolen")
    node.push(tree, "w")
    assert look(there) == look(tree)
    assert not list(outside.iterdir())

    (tree / "nothing").unlink()
    (there / "nothing").unlink()
    (there / "nothing").mkdir()
    (there / "nothing" / "kept").touch()
    (tree / "nothing").write_text("back again")
    with pytest.raises(SyncError, match="nothing, a folder that is not empty"):
        node.push(tree, "w")
    assert (there / "nothing" / "kept").exists()


def test_where_a_single_file_goes(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("hello")
    source.chmod(0o640)
    node.push(source, "~/new/b.txt")
    node.push(source, "~/folder/")
    (node.home / "there").mkdir()
    node.push(source, "there")
    node.push(source, str(node.home / "absolute.txt"))
    (tmp_path / "link.txt").symlink_to("a.txt")
    node.push(tmp_path / "link.txt", "~/linked.txt")
    seen = look(node.home)
    for path in (b"new/b.txt", b"folder/a.txt", b"there/a.txt", b"absolute.txt", b"linked.txt"):
        assert seen[path].content == b"hello"
        assert seen[path].mode == 0o640
    assert node.push(source, "~/new/b.txt").sent_files == 0
    with pytest.raises(SyncError, match=r"a\.txt/x"):
        node.push(source, "there/a.txt/x")

    node.pull("~/new/b.txt", tmp_path / "c.txt")
    node.pull("~/new/b.txt", f"{tmp_path}/pulled/")
    assert (tmp_path / "c.txt").read_text() == (tmp_path / "pulled" / "b.txt").read_text() == "hello"


def test_a_folder_goes_into_its_target_and_not_onto_a_file(node: Node, tree: Path) -> None:
    (node.home / "file").write_text("mine")
    with pytest.raises(SyncError, match="is a file, and a folder is to go there"):
        node.push(tree, "~/file")
    assert (node.home / "file").read_text() == "mine"
    node.home.chmod(0o700)
    node.push(tree, "~")
    assert (node.home.stat().st_mode & 0o777, (node.home / "file").read_text()) == (0o700, "mine")
    assert (node.home / "private").exists()
    tree.chmod(0o710)
    node.push(tree, "~/made/now")
    assert (node.home / "made" / "now").stat().st_mode & 0o777 == 0o710


def test_what_is_asked_for_and_is_not_there(node: Node, tmp_path: Path) -> None:
    with pytest.raises(SyncError, match=r"There is no .*nowhere on the node"):
        node.pull("~/nowhere", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(SyncError, match=r"Cannot read .*no-such: No such file"):
        node.push(tmp_path / "no-such", "w")
    for bad in ("~root/x", "", "a\0b"):
        with pytest.raises(SyncError, match=r"home of another user|path is needed"):
            node.pull(bad, tmp_path / "x")


def test_sockets_and_pipes_are_skipped_with_a_note(
    node: Node, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tree / "fifo")
    monkeypatch.chdir(tree)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        stats = node.push(tree, "w")
    assert sorted(stats.notes) == ["fifo is a pipe; skipped.", "sock is a socket; skipped."]
    assert b"fifo" not in look(node.home / "w")


def test_paths_longer_than_the_system_allows(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    fd = os.open(source, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("n" * 200, dir_fd=fd)
        below = os.open("n" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with os.fdopen(os.open("x" * 255, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd), "wb") as file:
        file.write(b"deep")
    os.close(fd)
    node.push(source, "w")
    assert look(node.home / "w") == look(source)
    assert node.push(source, "w").sent_files == 0


def test_several_ranks_side_by_side_from_one_scan(node: Node, tree: Path) -> None:
    heard: list[tuple[float, float | None, str]] = []

    class Hears(SilentReporter):
        def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
            heard.append((done, total, unit))

    stats = node.push(tree, "w", ranks=[0, 1, 2], report=Hears())
    for rank in range(3):
        assert look(node.homes / f"rank-{rank}" / "w") == look(tree)
    assert (stats.files, stats.sent_files, stats.sent_bytes) == (8, 24, 3 * stats.bytes)
    assert heard[-1] == (stats.sent_bytes, stats.sent_bytes, "bytes")


def test_the_error_names_the_rank_and_ends_the_others(node: Node, tree: Path) -> None:
    (node.homes / "rank-1").mkdir()
    (node.homes / "rank-1" / "w").write_text("a file")
    with pytest.raises(SyncError, match=r"rank 1: .* is a file, and a folder is to go there"):
        node.push(tree, "w", ranks=[0, 1])


def test_the_agent_stays_responsive(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "f").open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(1 << 20))

    async def work(link) -> tuple[int, float]:
        sync = asyncio.ensure_future(files.push(link, source, "w", ranks=[0]))
        beat = await link.open("beat")
        beats, worst = 0, 0.0
        loop = asyncio.get_running_loop()
        while not sync.done():
            started = loop.time()
            await beat.write(b".")
            await beat.read(1)
            beats, worst = beats + 1, max(worst, loop.time() - started)
        await sync
        await beat.close()
        return beats, worst

    beats, worst = node.run(work)
    assert beats > 5
    assert worst < 1.0
