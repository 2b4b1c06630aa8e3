"""A peer that lies: whatever it sends, nothing is read or written outside the root."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from files_fixtures import look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_sky.agent.files import frames, serve
from jupyter_sky.agent.files.errors import FilesError
from jupyter_sky.agent.files.pipe import run
from jupyter_sky.agent.files.receiver import Receiver
from jupyter_sky.agent.files.scan import scan
from jupyter_sky.agent.files.sender import Sender

if TYPE_CHECKING:
    from pathlib import Path


class Scripted:
    """A stream whose other end has said all it has to say."""

    def __init__(self, said: bytes, header: dict[str, object] | None = None) -> None:
        self.header = header or {}
        self._said = said
        self.reset_with: tuple[str, str] | None = None
        self.written = b""

    async def read(self, limit: int = 0) -> bytes:
        said, self._said = self._said, b""
        return said

    async def write(self, data: bytes) -> None:
        self.written += bytes(data)

    async def write_eof(self) -> None:
        """Take the end."""

    async def reset(self, code: str, message: str = "") -> None:
        self.reset_with = code, message

    async def close(self) -> None:
        """Close."""


def frame(kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">BI", kind, len(body)) + body


def manifest(*folders: object) -> bytes:
    return frame(frames.TREE, zlib.compress(json.dumps(folders).encode()))


HELLO = frame(frames.HELLO, json.dumps({"version": 1, "single": ""}).encode())
END = frame(frames.TREE_END)


def content(index: int, data: bytes) -> bytes:
    return frame(frames.FILE, frames.META.pack(index, 0, 0o644) + data)


def receive(root: Path, said: bytes) -> str:
    """Let a receiver hear `said`; give the error it ends with."""

    async def received() -> str:
        with pytest.raises(FilesError) as caught:
            await run(
                Scripted(said), lambda pipe: Receiver(pipe, lambda _: (str(root), "f")).run(), timeout=5
            )
        return f"{caught.value.code}: {caught.value}"

    return asyncio.run(received())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root beside something that must stay as it is."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("untouched")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def _outside_is_untouched(root: Path) -> None:
    yield
    assert [path.name for path in root.parent.iterdir() if path.name not in {"root", "outside"}] == []
    assert {name: seen.content for name, seen in look(root.parent / "outside").items()} == {
        b"file": b"untouched"
    }
    assert not [name for name in look(root) if name.startswith(b".jupyter-sky-sync/s-")]


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/etc/x", "a/b", "a\0b", "../x", ".jupyter-sky-sync", 7, None, "\ud800"]
)
def test_names_that_lead_elsewhere(root: Path, name: object) -> None:
    entry = [name, "f", 0o644, 0, 3]
    assert receive(root, HELLO + manifest(["", 0o755, 0, [entry]]) + END + content(0, b"abc")).startswith(
        "protocol"
    )
    assert receive(
        root, frame(frames.HELLO, json.dumps({"version": 1, "single": name}).encode()) + END
    ).split(":")[0] in {"protocol", "cut"}
    if name:
        parts = [["", 0o755, 0, []], [name, 0o755, 0, []]]
        expected = "protocol"
        assert receive(root, HELLO + manifest(*parts) + END).startswith(expected)
    assert not any(seen.kind == "file" for seen in look(root).values())


def test_no_writing_through_a_link_it_sent_before(root: Path) -> None:
    link = ["x", "l", 0, 0, "../outside"]
    said = (
        HELLO
        + manifest(["", 0o755, 0, [link]], ["x", 0o755, 0, [["file", "f", 0o644, 0, 3]]])
        + END
        + content(0, b"abc")
    )
    receive(root, said)
    assert look(root)[b"x"].kind == "folder"
    # The other order: the file is asked for, and then a link takes the place of its folder.
    said = (
        HELLO
        + manifest(["", 0o755, 0, []], ["y", 0o755, 0, [["file", "f", 0o644, 0, 3]]])
        + manifest(["", 0o755, 0, [["y", "l", 0, 0, "../outside"]]])
        + END
        + content(0, b"abc")
    )
    assert "y" in receive(root, said)


def test_no_writing_through_a_link_that_was_there(root: Path) -> None:
    (root / "file").symlink_to("../outside/file")
    (root / "folder").symlink_to("../outside")
    entries = [["file", "f", 0o644, 0, 3]]
    said = (
        HELLO
        + manifest(["", 0o755, 0, entries], ["folder", 0o755, 0, entries])
        + END
        + content(0, b"abc")
        + content(1, b"def")
    )
    receive(root, said)
    assert look(root)[b"file"].content == b"abc"
    assert look(root)[b"folder/file"].content == b"def"


def test_a_staging_folder_that_is_a_link(root: Path) -> None:
    (root / ".jupyter-sky-sync").symlink_to("../outside")
    said = HELLO + manifest(["", 0o755, 0, [["a", "f", 0o644, 0, 3]]]) + END + content(0, b"abc")
    assert "Cannot write to" in receive(root, said)
    (root / ".jupyter-sky-sync").unlink()


ONE = HELLO + manifest(["", 0o755, 0, [["a", "f", 0o644, 0, 5 << 20]]]) + END
OPEN = frame(frames.OPEN, frames.OPEN_LARGE.pack(0, 5 << 20))


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (frame(frames.HELLO, b"[]"), "protocol"),
        (frame(frames.HELLO, b'{"version": 99}'), "version"),
        (HELLO + struct.pack(">BI", frames.TREE, 1 << 31), "protocol"),
        (HELLO + frame(frames.TREE, b"no zlib"), "protocol"),
        (HELLO + frame(frames.TREE, zlib.compress(b"[" * 100_000)), "protocol"),
        (HELLO + frame(frames.TREE, zlib.compress(bytes(1 << 30), 9)), "protocol"),
        (HELLO + manifest(["", 0o755, 0, [["a", "f", 0o644, 0, -1]]]), "protocol"),
        (HELLO + manifest(["", 0o755, 1 << 80, []]), "protocol"),
        (HELLO + manifest(["", 0o755, 0, [["a", "x", 0, 0, 0]]]), "protocol"),
        (HELLO + manifest(["", 0o755, 0, [["a", "l", 0, 0, ""]]]), "protocol"),
        (HELLO + manifest(["", 0o755, 0]), "protocol"),
        (HELLO + manifest(["no/parent", 0o755, 0, []]), "protocol"),
        (HELLO + END + content(0, b"unasked"), "protocol"),
        (HELLO + END + manifest(), "protocol"),
        (HELLO + frame(99), "protocol"),
        (HELLO + frame(frames.FILE, b"x"), "protocol"),
        (HELLO + frame(frames.BLOCK, bytes(8) + b"x"), "protocol"),
        (ONE + OPEN + OPEN, "protocol"),
        (ONE + OPEN + frame(frames.KEEP, frames.RANGE.pack(0, 1 << 20)), "protocol"),
        (ONE + OPEN + frame(frames.BLOCK, frames.OFFSET.pack(1 << 40) + b"x"), "protocol"),
        (ONE + OPEN + frame(frames.BLOCK, frames.OFFSET.pack(0) + bytes((1 << 20) + 1)), "protocol"),
        (ONE + OPEN + frame(frames.ZERO, frames.RANGE.pack(0, (1 << 64) - 1)), "protocol"),
        (ONE + frame(frames.DONE, b"{}"), "protocol"),
        (ONE + content(0, bytes(5 << 20)), "protocol"),
        (ONE + OPEN + frame(frames.BLOCK, frames.OFFSET.pack(0) + b"cut here"), "cut"),
    ],
)
def test_a_sender_that_breaks_the_protocol(root: Path, said: bytes, error: str) -> None:
    assert receive(root, said).split(":")[0] == error
    assert not (root / "a").exists()


@pytest.mark.parametrize(
    "said",
    [
        frame(frames.WANT, frames.INDEX.pack(1)),
        frame(frames.WANT, b""),
        frame(99),
        frame(frames.FIN) + frame(frames.FIN),
        b"",
    ],
)
def test_a_receiver_that_breaks_the_protocol(root: Path, said: bytes) -> None:
    (root / "a").write_text("abc")
    tree = scan(str(root))

    async def sent() -> None:
        with pytest.raises(FilesError):
            await run(Scripted(said), lambda pipe: Sender(tree, pipe).run(), timeout=5)

    asyncio.run(sent())
    (root / "a").unlink()


@given(said=st.lists(st.tuples(st.sampled_from(sorted(range(14))), st.binary(max_size=40)), max_size=8))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_an_error_and_never_a_crash(root: Path, said: list[tuple[int, bytes]]) -> None:
    receive(root, ONE + b"".join(frame(kind, body) for kind, body in said))


@pytest.mark.parametrize(
    "header", [{}, {"path": 7}, {"path": "x", "timeout": "no"}, {"path": "~x"}, {"path": "a\0"}]
)
def test_a_request_that_makes_no_sense(root: Path, header: dict[str, object]) -> None:
    stream = Scripted(b"", {"kind": "files.push", **header})
    asyncio.run(serve(stream, str(root)))
    assert stream.reset_with is not None
    assert not list(root.iterdir())
