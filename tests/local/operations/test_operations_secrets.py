"""A secret reaches the handler and is found nowhere else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from operation_helpers import process_of

from jupyter_sky.errors import OperationError, UsageError
from jupyter_sky.flows.operations import get, listing, wait
from jupyter_sky.flows.operations.redaction import Redactor

if TYPE_CHECKING:
    from pathlib import Path

    from operation_helpers import InPhase, Start

TOKEN = "hf_3x4mple\"t0k3n'wïth\\quotes"
KEY = "-----BEGIN KEY-----\nMIIBVwIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
#: What would give a secret away, however it was written down.
TRACES = [b"3x4mple", b"t0k3n", b"MIIBVwIBADANBgkq", b"hkiG9w0BAQEFAASC", b"found-out-later"]


def found_in(folder: Path) -> list[str]:
    """Look in another process: to open and close a database here would take away SQLite's own locks on it."""
    found = subprocess.run(
        ["grep", "-raoF", "-f", "-", str(folder)],
        input=b"\n".join(TRACES),
        capture_output=True,
        check=False,
    )
    passing = b"No such file or directory"  # it was removed while grep walked
    assert all(line.endswith(passing) for line in found.stderr.splitlines()), found.stderr
    return found.stdout.decode(errors="replace").splitlines()


def test_nowhere_in_the_home_nor_in_the_process_table(
    start: Start, sky_home: Path, tmp_path: Path, in_phase: InPhase, wait_until: Any
) -> None:
    record = start("babble", secrets={"TOKEN": TOKEN, "KEY": KEY}, until=str(tmp_path / "go"))
    in_phase(record, "using ***")
    wait_until(lambda: get(record.id).progress, 20, what="a heartbeat")
    process = process_of(record.id)
    said = " ".join([*process.cmdline(), *process.environ().values()])
    assert not [trace for trace in TRACES if trace.decode() in said]
    assert found_in(sky_home) == []
    (tmp_path / "go").touch()
    assert wait(record.id) == {"token": "***", "***": ["***"]}
    assert found_in(sky_home) == []
    output = (sky_home / "operations" / record.id / "output.log").read_text()
    assert output.splitlines() == ["***", "logged ***", "printed ******", "***", "***", "***"]


def test_not_in_a_traceback(start: Start, sky_home: Path) -> None:
    record = start("stumble", secrets={"TOKEN": TOKEN})
    with pytest.raises(OperationError, match=r"a defect near \*\*\*"):
        wait(record.id)
    assert found_in(sky_home) == []


def test_a_request_that_holds_one_is_refused(start: Start, sky_home: Path) -> None:
    with pytest.raises(UsageError, match="value of the secret TOKEN") as caught:
        start("greet", secrets={"TOKEN": TOKEN}, task={"run": [f"curl -H {TOKEN}"]})
    assert "t0k3n" not in caught.value.message
    assert listing(None) == []
    assert found_in(sky_home) == []


def test_a_large_secret_goes_through(start: Start) -> None:
    record = start("greet", secrets={"BIG": "x1y2" * 100_000})
    assert wait(record.id)["names"] == ["BIG"]
    assert get(record.id).request == {}


def test_redaction_of_texts() -> None:
    redactor = Redactor(["abcd", "abcdef", "no", "", "a.c*"])
    assert redactor.text("abcdef abcd abc a.c* aXc no") == "*** *** abc *** aXc no"
    assert redactor.data({"abcd": ["x abcdef", 1, None, ("abcd",)]}) == {"***": ["x ***", 1, None, ["***"]]}
    assert Redactor().data("abcd") == "abcd"
