"""The wheel and the sdist hold what they must and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import jupyter_sky

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Build both as a front end would, without a network, and give the names inside."""
    folder = tmp_path_factory.mktemp("dist")
    build = (
        "import sys; from hatchling.build import build_wheel, build_sdist; "
        "print(build_wheel(sys.argv[1])); print(build_sdist(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True)
    wheel = next(folder.glob("*.whl"))
    sdist = next(folder.glob("*.tar.gz"))
    assert wheel.name == f"jupyter_sky-{jupyter_sky.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    return {"wheel": in_wheel, "sdist": in_sdist}


def test_the_wheel_holds_both_packages_whole(distributions: dict[str, set[str]]) -> None:
    expected = {
        path.relative_to(base).as_posix()
        for base, package in ((ROOT, "jupyter_sky"), (ROOT / "magics", "jupyter_sky_magics"))
        for path in (base / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    inside = {name for name in distributions["wheel"] if ".dist-info/" not in name}
    assert inside == expected
    assert "jupyter_sky/py.typed" in inside
    assert any(name.startswith("jupyter_sky/agent/") for name in inside)
    assert any("migrations" in name for name in inside)


def test_the_wheel_says_how_to_call_it(distributions: dict[str, set[str]]) -> None:
    beside = {name.partition("/")[2] for name in distributions["wheel"] if ".dist-info/" in name}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= beside


def test_the_sdist_can_be_built_and_tested(distributions: dict[str, set[str]]) -> None:
    inside = distributions["sdist"]
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py"} <= inside
    assert "examples/quickstart.ipynb" in inside
    assert not [name for name in inside if name.startswith((".venv", "build", "dist", ".git/"))]
    assert not [name for name in inside if "__pycache__" in name]
