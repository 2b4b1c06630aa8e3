"""A home folder of its own for every test, and its database closed afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_sky.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(folder))
    return folder


@pytest.fixture
def state(home: Path) -> Iterator[State]:
    opened = State.open()
    yield opened
    opened.close()
