"""The ignore rules: what git says, and what .skyignore says instead."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from files_fixtures import Node, look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_sky.agent.files.scan import scan
from jupyter_sky.link.ignore import IgnoreRules

if TYPE_CHECKING:
    from pathlib import Path


def make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")


def travels(root: Path) -> set[str]:
    """Give the files that would be sent, without those of git itself."""
    tree = scan(str(root), IgnoreRules.of(root))
    paths = {f"{folder}/{name}".lstrip("/") for folder, name, *_ in tree.files}
    return {path for path in paths if not path.startswith(".git/")}


def git_says(root: Path) -> set[str]:
    """Give the files that git does not ignore."""
    command = ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard"]
    return set(os.fsdecode(subprocess.check_output(command, cwd=root)).split("\0")) - {""}


def repository(root: Path) -> Path:
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def test_gitignore_files_nested_negated_and_excluded(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    make(
        root,
        "keep.py",
        "a.pyc",
        "data/x.bin",
        "data/keep.bin",
        "build/out",
        "src/build/out",
        "src/a.log",
        "src/important.log",
    )
    make(
        root,
        "deep/er/secret.txt",
        "deep/secret.txt",
        "local.txt",
        "sp ace/x",
        "!bang",
        "#hash",
        "docs/a/b/c.tmp",
        "docs/c.tmp",
    )
    (root / ".gitignore").write_text(
        "*.pyc\n# a comment\n\n/build/\ndata/*\n"
        "!data/keep.bin\n*.log\nsp\\ ace/\n\\!bang\n\\#hash\r\ndocs/**/*.tmp\n"
    )
    (root / "src" / ".gitignore").write_text("!important.log\n")
    (root / "deep" / ".gitignore").write_text("/secret.txt\n")
    (root / ".git" / "info" / "exclude").write_text("local.txt\n")
    assert travels(root) == git_says(root)
    assert "src/important.log" in travels(root)
    assert "deep/er/secret.txt" in travels(root)
    assert "local.txt" not in travels(root)


def test_skyignore_replaces_gitignore(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "b.txt", "sub/a.txt", "sub/b.txt", "sub/c.txt")
    (tmp_path / ".gitignore").write_text("a.txt\n")
    (tmp_path / "sub" / ".gitignore").write_text("c.txt\n")
    (tmp_path / ".skyignore").write_text("/b.txt\n.*ignore\n")
    assert travels(tmp_path) == {"a.txt", "sub/a.txt", "sub/b.txt", "sub/c.txt"}


def test_an_ignored_folder_is_never_entered(tmp_path: Path, node: Node) -> None:
    make(tmp_path / "w", "venv/lib/x", "main.py")
    os.mkfifo(tmp_path / "w" / "venv" / "fifo")
    (tmp_path / "w" / ".gitignore").write_text("venv/\n")
    stats = node.push(tmp_path / "w", "w")
    assert stats.notes == ()
    assert set(look(node.home / "w")) == {b".gitignore", b"main.py"}
    node.push(tmp_path / "w", "all", ignore=False)
    assert (node.home / "all" / "venv" / "lib" / "x").exists()


def test_rules_that_cannot_be_read_and_odd_ones(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    (tmp_path / ".gitignore").mkdir()
    assert travels(tmp_path) == {"a", "b"}
    (tmp_path / ".skyignore").write_bytes(b"\xef\xbb\xbfa\n\xff\n[z\n")
    assert travels(tmp_path) == {".skyignore", "b"}


SEGMENTS = st.sampled_from(["a", "b", "ab", "a.c", "b.c", "*", "*.c", "a*", "?", "**", "[ab]", "d"])
PATTERNS = st.builds(
    lambda negated, rooted, parts, folder: f"{negated}{rooted}{'/'.join(parts)}{folder}",
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(SEGMENTS, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)
RULES = st.lists(PATTERNS, max_size=5)
PATHS = [
    f"{prefix}{name}"
    for prefix in ("", "a/", "b/", "a/b/", "a/d/", "d/a/b/")
    for name in ("ab", "a.c", "b.c", "x", "q.c")
]


@given(top=RULES, nested=RULES, exclude=RULES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_rules_decide_as_git_does(
    tmp_path: Path, top: list[str], nested: list[str], exclude: list[str]
) -> None:
    root = tmp_path / "repo"
    if not root.exists():
        repository(root)
        make(root, *PATHS)
    (root / ".gitignore").write_text("\n".join(top))
    (root / "a" / ".gitignore").write_text("\n".join(nested))
    (root / ".git" / "info" / "exclude").write_text("\n".join(exclude))
    assert travels(root) == git_says(root)


@pytest.mark.slow
def test_rules_are_fast_on_many_files(tmp_path: Path) -> None:
    """Many patterns cost less than the walk itself would be allowed to."""
    for folder in range(100):
        make(tmp_path, *(f"folder-{folder}/file-{index}.py" for index in range(100)))
        make(tmp_path, *(f"folder-{folder}/node_modules/m-{index}/x.js" for index in range(3)))
    patterns = [
        "node_modules/",
        *(f"*.tmp{index}" for index in range(40)),
        *(f"/build-{index}/**/*.o" for index in range(20)),
    ]
    (tmp_path / ".gitignore").write_text("\n".join(patterns))
    plain = time.perf_counter()
    scan(str(tmp_path))
    started = time.perf_counter()
    assert len(travels(tmp_path)) == 10_001
    took, plain = time.perf_counter() - started, started - plain
    assert took < 1.0 + 5 * plain
