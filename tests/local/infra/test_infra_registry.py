"""Infras are found by name, also those of other packages, and a broken one is told, not suffered."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.errors import InfraDisabledError
from jupyter_sky.infra import registry
from jupyter_sky.infra.local import LocalInfra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOOD = """
from jupyter_sky.infra.local import LocalInfra
class Moon(LocalInfra):
    name = "moon"
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Install a package with one infra, as pip would: a module and its metadata on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.get_infra.cache_clear()

    def install(name: str, module: str, source: str) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[jupyter_sky.infra]\n{name} = {module}:Moon\n")

    yield install
    registry.get_infra.cache_clear()


def test_local_is_there_and_is_one_object() -> None:
    assert registry.infra_names()[0] == "local"
    assert isinstance(registry.get_infra("local"), LocalInfra)
    assert registry.get_infra("local") is registry.get_infra("local")


def test_an_unknown_infra_names_the_known_ones() -> None:
    with pytest.raises(InfraDisabledError, match=r"'locl'.*installed are: local") as caught:
        registry.get_infra("locl")
    assert caught.value.hint == "Did you mean 'local'?"


def test_a_plugin_is_found_by_name(plugin: Callable[[str, str, str], None]) -> None:
    plugin("moon", "sky_moon", GOOD)
    assert registry.infra_names() == ["local", "moon"]
    assert registry.get_infra("moon").name == "moon"
    assert {infra.name for infra in registry.enabled_infras()} == {"local", "moon"}


def test_a_plugin_cannot_replace_ours(plugin: Callable[[str, str, str], None]) -> None:
    plugin("local", "sky_other_local", GOOD)
    assert type(registry.get_infra("local")) is LocalInfra


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import there_is_no_such_module", "ModuleNotFoundError"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("x = 1", "AttributeError"),
        ("Moon = dict", "is a dict, not an Infra"),
    ],
)
def test_a_broken_plugin_is_reported_by_check_and_disturbs_nothing_else(
    plugin: Callable[[str, str, str], None], source: str, reason: str
) -> None:
    module = f"sky_broken_{abs(hash(source))}"
    plugin("moon", module, source)
    check = registry.check_infra("moon")
    assert not check.enabled
    assert reason in check.reason
    assert check.hint
    assert [infra.name for infra in registry.enabled_infras()] == ["local"]
    with pytest.raises(InfraDisabledError):
        registry.get_infra("moon")


def test_a_plugin_whose_check_fails_is_disabled(plugin: Callable[[str, str, str], None]) -> None:
    plugin("moon", "sky_moon_sick", GOOD + "    def check(self):\n        raise ValueError('no token')\n")
    check = registry.check_infra("moon")
    assert not check.enabled
    assert "ValueError: no token" in check.reason


def test_asking_for_local_neither_scans_packages_nor_imports_what_is_heavy() -> None:
    heavy = ["importlib.metadata", "pydantic", "yaml", "cryptography", "sqlalchemy", "asyncio"]
    code = (
        "import sys; from jupyter_sky.infra.registry import get_infra; get_infra('local').query([]);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
