"""What a sync does when something gives way: the line, the disk, the rights, the file under the reader."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import threading
from pathlib import Path

import psutil
import pytest
from files_fixtures import NOBODY, Node, look

from jupyter_sky.agent.files.pipe import run
from jupyter_sky.agent.files.scan import scan
from jupyter_sky.agent.files.sender import Sender
from jupyter_sky.errors import SyncError
from jupyter_sky.events import SilentReporter
from jupyter_sky.link import files

MIB = 1 << 20


def open_to_all(folder: Path) -> None:
    """Let another user reach a folder that pytest made."""
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o5 != 0o5:
            path.chmod(0o755)


class KillsAt(SilentReporter):
    """Ends the node's process when so many bytes have gone out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.killed = False

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        if done >= self.limit and not self.killed:
            self.killed = True
            for child in psutil.Process().children():
                child.send_signal(signal.SIGKILL)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Give a folder with one file of 300 MiB and some small ones."""
    root = tmp_path / "large"
    root.mkdir()
    piece = os.urandom(MIB)
    with (root / "model.bin").open("wb") as file:
        for index in range(300):
            file.write(index.to_bytes(8, "big") + piece[8:])
    for index in range(20):
        (root / f"small-{index}").write_bytes(piece[: index * 1000])
    return root


def test_a_killed_node_is_an_error_and_the_next_sync_continues(node: Node, large: Path) -> None:
    reporter = KillsAt(100 * MIB)
    with pytest.raises(SyncError, match="was not copied to w on rank 0"):
        node.push(large, "w", report=reporter)
    assert reporter.killed
    assert not (node.home / "w" / "model.bin").exists()
    stats = node.push(large, "w")
    assert look(node.home / "w") == look(large)
    assert 0 < stats.sent_bytes < 260 * MIB
    assert not (node.home / "w" / ".jupyter-sky-sync").exists()


def test_a_pull_whose_node_is_killed_continues(node: Node, large: Path, tmp_path: Path) -> None:
    node.push(large, "w")
    with pytest.raises(SyncError, match="on rank 0 was not copied to"):
        node.pull("w", tmp_path / "back", report=KillsAt(100 * MIB))
    assert not (tmp_path / "back" / "model.bin").exists()
    assert node.pull("w", tmp_path / "back").sent_bytes < 260 * MIB
    assert look(tmp_path / "back") == look(large)


def is_let_go(folder: Path) -> bool:
    """Say whether no sync holds a partial file of the folder any more."""
    for partial in folder.glob(".jupyter-sky-sync/p-*"):
        with partial.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def test_a_cancelled_sync_ends_at_once_and_continues(node: Node, large: Path) -> None:
    async def cancelled(link) -> None:
        moved = asyncio.Event()

        class Hears(SilentReporter):
            def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
                if done > 20 * MIB:
                    moved.set()

        task = asyncio.ensure_future(files.push(link, large, "w", ranks=[0], report=Hears()))
        await moved.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(20):
            while not is_let_go(node.home / "w"):  # noqa: ASYNC110 - another process does, and tells nobody
                await asyncio.sleep(0.002)
        # The link is as good as before.
        await files.push(link, large, "w", ranks=[0])

    node.run(cancelled)
    assert look(node.home / "w") == look(large)


def test_a_replaced_file_is_whole_at_every_moment(node: Node, large: Path) -> None:
    """The old content or the new one, never a mixture, also when the node is killed in the middle."""
    (node.home / "w").mkdir()
    old = b"old" * (3 * MIB)
    (node.home / "w" / "model.bin").write_bytes(old)
    with pytest.raises(SyncError):
        node.push(large, "w", report=KillsAt(50 * MIB))
    assert (node.home / "w" / "model.bin").read_bytes() == old
    node.push(large, "w")
    assert look(node.home / "w") == look(large)


def test_a_full_disk_is_told_with_the_path_and_leaves_no_half_file(node: Node, large: Path) -> None:
    node.env["TEST_FILE_LIMIT"] = str(30 * MIB)
    with pytest.raises(SyncError, match=r"Cannot write .*/w/model\.bin: File too large"):
        node.push(large, "w")
    assert not (node.home / "w" / "model.bin").exists()


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="only on macOS or without root: no mount"
)
def test_a_full_file_system(node: Node, large: Path, tmp_path: Path) -> None:
    import subprocess

    target = tmp_path / "disk"
    target.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(target)], check=False)
    if mounted.returncode:
        pytest.skip("only on macOS or without the right to mount")
    try:
        with pytest.raises(SyncError, match=r"Cannot write .*/disk/w/model\.bin: No space left") as caught:
            node.push(large, f"{target}/w")
        assert "Free some space" in str(caught.value.hint) or "Free some space" in caught.value.message
        assert not (target / "w" / "model.bin").exists()
        assert os.statvfs(target).f_bavail * os.statvfs(target).f_frsize > 15 * MIB
        # A folder of the tree on another file system than its root.
        (node.home / "v").mkdir()
        (large / "small").mkdir()
        (large / "small" / "file").write_text("across")
        (large / "small" / "link").symlink_to("file")
        (large / "model.bin").unlink()
        (node.home / "v" / "small").mkdir()
        subprocess.run(["mount", "--bind", str(target), str(node.home / "v" / "small")], check=True)
        try:
            node.push(large, "v")
            assert look(node.home / "v" / "small")[b"file"].content == b"across"
            assert look(node.home / "v" / "small")[b"link"].content == b"file"
            assert not [path for path in (node.home / "v" / "small").iterdir() if path.name.startswith(".")]
        finally:
            subprocess.run(["umount", str(node.home / "v" / "small")], check=True)
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_what_a_user_may_not_read_is_listed_and_nothing_is_sent(node: Node, tmp_path: Path) -> None:
    source = node.home / "w"
    source.mkdir()
    for index in range(12):
        (source / f"secret-{index:02}").write_text("x")
        (source / f"secret-{index:02}").chmod(0)
    (source / "closed").mkdir(mode=0)
    if os.geteuid() == 0:
        node.env["TEST_UID"] = str(NOBODY)
        os.chown(source, NOBODY, NOBODY)
        open_to_all(tmp_path)
    with pytest.raises(SyncError, match=r"Cannot read 13 paths in .*\n.*Permission denied") as caught:
        node.pull("w", tmp_path / "back")
    assert "and 3 more" in caught.value.message
    assert not (tmp_path / "back").exists()


def test_a_folder_that_may_not_be_written(node: Node, tree: Path, tmp_path: Path) -> None:
    closed = node.home / "closed"
    closed.mkdir()
    if os.geteuid() == 0:
        node.env["TEST_UID"] = str(NOBODY)
        open_to_all(tmp_path)
    else:
        closed.chmod(0o555)
    with pytest.raises(SyncError, match=r"Cannot make the folder .*closed/w: Permission denied") as caught:
        node.push(tree, "closed/w")
    assert "may write" in str(caught.value.hint) or "may write" in caught.value.message
    with pytest.raises(SyncError, match="Permission denied"):
        node.push(tree, "closed")


def test_read_only_folders_of_ones_own_are_filled_and_closed_again(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "ro" / "below").mkdir(parents=True)
    (source / "ro" / "a").write_text("1")
    (source / "ro" / "below" / "b").write_text("1")
    (source / "ro" / "below").chmod(0o555)
    (source / "ro").chmod(0o500)
    if os.geteuid() == 0:
        node.env["TEST_UID"] = str(NOBODY)
        os.chown(node.home, NOBODY, NOBODY)
        open_to_all(tmp_path)
    node.push(source, "w")
    assert look(node.home / "w") == look(source)
    (source / "ro" / "below").chmod(0o755)
    (source / "ro" / "below" / "b").write_text("22")
    (source / "ro" / "below").chmod(0o555)
    node.push(source, "w")
    assert look(node.home / "w") == look(source)
    for path in (source / "ro", source / "ro" / "below"):
        path.chmod(0o755)


class StuckStream:
    """A stream whose other end never says anything."""

    def __init__(self) -> None:
        self.header: dict[str, str] = {}
        self.resets: list[str] = []

    async def read(self, limit: int = 0) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        """Take everything."""

    async def write_eof(self) -> None:
        """Take the end."""

    async def reset(self, code: str, message: str = "") -> None:
        self.resets.append(code)

    async def close(self) -> None:
        """Close."""


def test_silence_ends_in_an_error(tree: Path) -> None:
    from jupyter_sky.agent.files.errors import FilesError

    async def silent() -> list[str]:
        stream = StuckStream()
        found = scan(str(tree))
        with pytest.raises(FilesError, match=r"No progress for 0\.2 s"):
            await run(stream, lambda pipe: Sender(found, pipe).run(), timeout=0.2)
        return stream.resets

    assert asyncio.run(silent()) == ["timeout"]


def test_a_thread_stuck_on_its_disk_does_not_hold_up_the_end(tree: Path) -> None:
    from jupyter_sky.agent.files import pipe as pipes
    from jupyter_sky.agent.files.errors import FilesError

    class Cut(StuckStream):
        async def read(self, limit: int = 0) -> bytes:
            raise ConnectionResetError("cut")

    release = threading.Event()

    async def stuck() -> None:
        with pytest.raises(FilesError, match="cut"):
            await run(Cut(), lambda _pipe: release.wait(60))

    before = pipes._GRACE
    pipes._GRACE = 0.2
    try:
        asyncio.run(stuck())
    finally:
        pipes._GRACE = before
        release.set()


def test_files_that_change_grow_or_vanish_under_the_reader(node: Node, tmp_path: Path) -> None:
    """The tree is scanned first and changed before it is read, as a job that writes would."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("gone", "small", "grows", "becomes-link", "becomes-folder"):
        (source / name).write_text("as scanned")
    for name in ("large-gone", "shrinks"):
        (source / name).write_bytes(os.urandom(6 * MIB))

    async def work(link) -> tuple[str, ...]:
        tree = scan(str(source))
        for name in ("gone", "large-gone", "becomes-link", "becomes-folder"):
            (source / name).unlink()
        (source / "becomes-link").symlink_to("/etc/passwd")
        (source / "becomes-folder").mkdir()
        (source / "small").write_text("as it is now")
        (source / "grows").write_bytes(os.urandom(9 * MIB))
        (source / "shrinks").write_text("short")
        stream = await link.open("files.push", rank=0, path="w")
        sender: list[Sender] = []

        def send(pipe) -> None:
            sender.append(Sender(tree, pipe))
            sender[0].run()

        await run(stream, send)
        return tuple(sender[0].notes)

    notes = node.run(work)
    assert len(notes) == 4
    seen, there = look(source), look(node.home / "w")
    assert set(there) == {b"small", b"grows", b"shrinks"}
    for name in (b"small", b"grows", b"shrinks"):
        assert there[name] == seen[name]


def test_a_file_that_is_written_all_the_time_is_noted_and_next_time_right(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    log = source / "training.log"
    log.write_bytes(os.urandom(40 * MIB))
    stop = threading.Event()

    def write() -> None:
        with log.open("ab") as file:
            while not stop.is_set():
                file.write(b"another line\n")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stats = node.push(source, "w")
    finally:
        stop.set()
        writer.join()
    assert stats.notes == ("training.log changed while it was copied.",)
    arrived = (node.home / "w" / "training.log").read_bytes()
    assert log.read_bytes().startswith(arrived)
    assert len(arrived) >= 40 * MIB
    node.push(source, "w")
    assert look(node.home / "w") == look(source)


def test_two_syncs_of_the_same_tree_at_once(node: Node, large: Path) -> None:
    async def both(link) -> None:
        await asyncio.gather(*(files.push(link, large, "w", ranks=[0]) for _ in range(2)))

    node.run(both)
    assert look(node.home / "w") == look(large)
    assert not (node.home / "w" / ".jupyter-sky-sync").exists()
