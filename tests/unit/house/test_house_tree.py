"""What holds for every file of the tree: sizes, what the agent may import, nobody's secrets."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jupyter_sky

ROOT = Path(__file__).parents[3]
PACKAGES = (ROOT / "jupyter_sky", ROOT / "magics" / "jupyter_sky_magics")
AGENT = ROOT / "jupyter_sky" / "agent"
LONGEST_FILE = 600

#: A path of somebody's machine, an address of somebody's network, the beginning of a well-known kind of key.
PRIVATE = re.compile(
    r"/(?:home|Users)/(?!user\b|you\b|me\b|\.\.\.|<)[a-z][\w.-]*/"
    r"|\b(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b(?!/\d)"
    r"|\bAKIA[0-9A-Z]{16}\b|\bghp_\w{20}|\bhf_[A-Za-z]{20}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{20}"
)
#: Work that is announced and not done belongs in an issue.
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def source_files() -> list[Path]:
    """Give every Python file of the packages."""
    return [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


def tracked_texts() -> list[tuple[Path, str]]:
    """Give every text file that git tracks; where there is no git, every file of the folders that matter."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        folders = ("jupyter_sky", "magics", "tests", "examples", "docs")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = []
    for path in paths:
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            texts.append((path.relative_to(ROOT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return texts


def imported_modules(path: Path) -> set[str]:
    """Give the first word of every absolute import of a file, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in source_files()}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in source_files()
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_the_agent_imports_only_the_standard_library_and_itself() -> None:
    foreign = {
        str(path.relative_to(ROOT)): names
        for path in sorted(AGENT.rglob("*.py"))
        if (names := imported_modules(path) - sys.stdlib_module_names)
    }
    assert not foreign


def test_relative_imports_of_the_agent_stay_inside_it() -> None:
    outside = []
    for path in sorted(AGENT.rglob("*.py")):
        depth = len(path.relative_to(AGENT).parts)  # how many dots reach the agent's own package
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                outside.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not outside


def test_the_agent_keeps_to_the_grammar_of_python_3_8() -> None:
    for path in sorted(AGENT.rglob("*.py")):
        ast.parse(path.read_text(), filename=str(path), feature_version=(3, 8))


@pytest.mark.parametrize("pattern", [PRIVATE, UNFINISHED], ids=["private", "unfinished"])
def test_no_file_speaks_of(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in tracked_texts()
        for match in pattern.finditer(text)
    ]
    assert not found


def test_the_version_is_written_once() -> None:
    naming = [
        str(path.relative_to(ROOT))
        for path in source_files()
        if f'"{jupyter_sky.__version__}"' in path.read_text()
    ]
    # The agent travels without the rest of the package.
    assert naming == ["jupyter_sky/agent/version.py"]


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{jupyter_sky.__version__}]" in changelog or "## [Unreleased]" in changelog
