"""Any tree goes there and back and is the same tree."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from files_fixtures import NODE, look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_sky.errors import SyncError
from jupyter_sky.link import files
from jupyter_sky.link.carriers import LocalCarrier
from jupyter_sky.link.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 1 << 20
NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in {b".", b"..", b".jupyter-sky-sync"}
)
TIMES = st.integers(min_value=0, max_value=4 * 10**18)
#: Sizes around every border: empty, small, the largest small, blocks and their last one.
LARGE = st.tuples(
    st.sampled_from([4 * BLOCK, 4 * BLOCK + 1, 5 * BLOCK - 1, 6 * BLOCK]),
    st.sampled_from(["zeros", "letters", "zeros and letters", "numbers"]),
)
FILLS = {
    "zeros": b"\0",
    "letters": b"x",
    "zeros and letters": b"\0" * BLOCK + b"y" * BLOCK,
    "numbers": bytes(range(256)) * 4099,
}
FILES = st.tuples(
    st.just("file"),
    st.one_of(st.binary(max_size=200), st.binary(max_size=200), LARGE),
    st.sampled_from([0o600, 0o644, 0o755, 0o444]),
    TIMES,
)
LINKS = st.tuples(st.just("link"), NAMES, st.just(0), TIMES)
TREES = st.recursive(
    st.dictionaries(NAMES, st.one_of(FILES, LINKS), max_size=4),
    lambda below: st.dictionaries(
        NAMES,
        st.one_of(
            FILES, LINKS, st.tuples(st.just("folder"), below, st.sampled_from([0o755, 0o700, 0o555]), TIMES)
        ),
        max_size=4,
    ),
    max_leaves=12,
)
Entry = tuple[str, Any, int, int]


def filled(size: int, how: str) -> bytes:
    """Give the content of a large file."""
    fill = FILLS[how]
    return (fill * (size // len(fill) + 1))[:size]


def build(root: Path, tree: dict[bytes, Entry]) -> None:
    root.mkdir()
    for name, (kind, what, mode, time) in tree.items():
        path = root / os.fsdecode(name)
        if kind == "folder":
            build(path, what)
        elif kind == "link":
            path.symlink_to(os.fsdecode(what))
        else:
            path.write_bytes(filled(*what) if isinstance(what, tuple) else what)
        if kind != "link":
            path.chmod(mode)
        os.utime(path, ns=(time, time), follow_symlinks=False)


def over(there: Path, source: Path) -> bool:
    """Say whether `source` can go over what is there: no file or link where a folder holds something."""
    seen, new = look(there), look(source)
    return not any(
        entry.kind != "folder"
        and name in seen
        and seen[name].kind == "folder"
        and any(path.startswith(name + b"/") for path in seen)
        for name, entry in new.items()
    )


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """Give a way to run something with one link, and the home of its node."""
    homes = tmp_path_factory.mktemp("homes")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    link = call(Link.connect(LocalCarrier([sys.executable, str(NODE), str(homes)])))
    yield lambda work: call(work(link)), homes / "rank-0"
    call(link.close())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@given(first=TREES, second=TREES)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_any_tree_there_and_back(
    linked: tuple[Any, Path],
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[bytes, Entry],
    second: dict[bytes, Entry],
) -> None:
    run, home = linked
    folder = tmp_path_factory.mktemp("trees")
    remote = f"w-{folder.name}"
    source = folder / "source"
    build(source, first)
    run(lambda link: files.push(link, source, remote, ranks=[0], ignore=False))
    assert look(home / remote) == look(source)
    run(lambda link: files.pull(link, remote, folder / "back"))
    assert look(folder / "back") == look(source)
    again = run(lambda link: files.push(link, source, remote, ranks=[0], ignore=False))
    assert (again.sent_files, again.sent_bytes) == (0, 0)

    # Another tree over it: all of that is there, except where a full folder was in the way.
    other = folder / "other"
    build(other, second)
    if not over(home / remote, other):
        with pytest.raises(SyncError, match="not empty"):
            run(lambda link: files.push(link, other, remote, ranks=[0], ignore=False))
        return
    run(lambda link: files.push(link, other, remote, ranks=[0], ignore=False))
    seen = look(home / remote)
    for name, entry in look(other).items():
        # A file of the same size and time counts as the same, and keeps its content, as with rsync.
        assert seen[name] == entry or (entry.kind == "link" and seen[name].content == entry.content)
