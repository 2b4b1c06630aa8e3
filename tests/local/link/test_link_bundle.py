"""The agent's zipapp: deterministic, built once, run by old and new Pythons."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from jupyter_sky.link.bundle import PACKAGE, agent_bundle, bundle_hash

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_sources_give_the_same_file(tmp_path: Path) -> None:
    one = agent_bundle(tmp_path / "one")
    program = (
        "import sys; from pathlib import Path; from jupyter_sky.link.bundle import agent_bundle; "
        "print(agent_bundle(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "two")], check=True, capture_output=True, text=True
    )
    other = tmp_path / "two" / one.name
    assert done.stdout.strip() == str(other)
    assert one.name == f"agent-{bundle_hash()}.pyz"
    assert one.read_bytes() == other.read_bytes()
    assert other.stat().st_mode & 0o077 == 0
    assert agent_bundle(tmp_path / "one") == one
    assert [path.name for path in (tmp_path / "one").iterdir()] == [one.name]


def test_its_byte_code_is_used_and_its_sources_are_whole(tmp_path: Path) -> None:
    bundle = agent_bundle(tmp_path)
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert "__main__.py" in names
    assert {f"{PACKAGE}/relay.py", f"{PACKAGE}/relay.pyc"} <= set(names)
    program = (
        f"import sys; sys.path.insert(0, sys.argv[1]); import {PACKAGE}.wire as wire; "
        "print(wire.__spec__.cached or wire.__file__, wire.session.Session.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, str(bundle)], check=True, capture_output=True, text=True
    )
    assert ".pyc" in done.stdout
    assert "Session" in done.stdout


def test_the_relay_imports_next_to_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); "
        f"import {PACKAGE}.relay; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(agent_bundle(tmp_path))],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split()) - {"zlib", "_struct", "struct", "binascii"}
    assert loaded.isdisjoint({"socket", "asyncio", "threading", "typing", "selectors", "json", "ssl"})


def test_an_agents_wire_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, asyncio; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); "
        f"import {PACKAGE}.wire; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(agent_bundle(tmp_path))],
        check=True,
        capture_output=True,
        text=True,
    )
    heavy = {"ssl", "hashlib", "tempfile", "shutil", "uuid", "random", "secrets", "zipfile"}
    assert heavy.isdisjoint(done.stdout.split())
