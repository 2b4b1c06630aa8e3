"""The command line as a process: exit codes, pipes, terminals, locales, interrupts; clusters on `local`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from typing import IO, TYPE_CHECKING

import pytest

from jupyter_sky.flows import operations

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = [sys.executable, "-m", "jupyter_sky"]
#: Makes standard input the terminal that Ctrl-C comes from, and becomes the command that follows.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def environment(**more: str) -> dict[str, str]:
    base = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS"}}
    return {**base, "TERM": "xterm", **more}


def sky(*words: str, answer: str | None = None, env: dict[str, str] | None = None, cwd: Path | None = None):
    return subprocess.run(
        [*PROGRAM, *words],
        input=answer,
        stdin=subprocess.DEVNULL if answer is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(**(env or {})),
        cwd=cwd,
    )


def begin(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def read_until(stream: IO[bytes], text: str, limit: float = 30) -> str:
    """Read what comes until it holds `text`."""
    seen = b""
    deadline = time.monotonic() + limit
    while text.encode() not in seen:
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited in vain for {text!r}: {seen!r}"
        piece = os.read(stream.fileno(), 65536)
        assert piece, f"ended before {text!r}: {seen!r}"
        seen += piece
    return seen.decode()


def end(process: subprocess.Popen[bytes], *, interrupt: bool = True) -> str:
    """Press Ctrl-C and give what is said on standard error until the process has ended."""
    if interrupt:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    return said.decode()


def on_terminal(
    *words: str, columns: int = 80, env: dict[str, str] | None = None, answer: tuple[str, str] | None = None
) -> str:
    """Run a command on a terminal of its own and give all that it showed.

    `answer` is what is typed, behind what it answers.
    """
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *PROGRAM, *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment(**(env or {})),
        start_new_session=True,
    )
    os.close(follower)
    with os.fdopen(leader, "r+b", buffering=0) as terminal:
        shown = ""
        if answer is not None:
            shown = read_until(terminal, answer[0])
            terminal.write(answer[1].encode())
        with contextlib.suppress(OSError):  # Linux tells the end of a terminal so
            while piece := os.read(leader, 65536):
                shown += piece.decode()
    assert process.wait(60) is not None
    return shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status"], 0, ""),
        (["status", "nope"], 1, "There is no cluster 'nope'."),
        (["logs", "nope"], 1, "hint: You have no clusters"),
        (["down", "Not_A_Name", "-y"], 2, "DNS-1123"),
        (["launch", "-y", "-c", "x", "--gpus", "H100:8", "--", "true"], 3, "H100"),
        (["launch", "-y", "--cpus", "many", "--", "true"], 2, "--cpus"),
        (["launch", "-y", "--env", "NOT_SET_HERE", "--", "true"], 2, "NOT_SET_HERE"),
        (["ops", "attach", "abc"], 1, "There is no operation 'abc'."),
        (["check", "nowhere"], 1, "nowhere"),
        (["autostop", "dev", "--cancel", "-i", "3"], 2, "cannot stand beside it"),
        (["stop", "--all", "dev"], 2, "not both"),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(sky_home, words, code, said):
    done = sky(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_where_an_error_comes_from_is_told_on_request(sky_home):
    done = sky("status", "nope", env={"JUPYTER_SKY_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "error: There is no cluster 'nope'." in done.stderr


def test_a_reader_that_has_gone_is_no_error(sky_home):
    process = begin("schema")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 141


def test_output_that_goes_nowhere_is_no_error(sky_home):
    shell = f'exec "{sys.executable}" -m jupyter_sky status'
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        done = subprocess.run(["sh", "-c", f"{shell} {closed}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only on macOS there is no /dev/full")
def test_output_that_finds_no_room_is_told(sky_home):
    shell = f'exec "{sys.executable}" -m jupyter_sky status'
    done = subprocess.run(["sh", "-c", f"{shell} >/dev/full"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device.\n")


def test_a_locale_without_utf8_gets_plain_signs(sky_home):
    done = sky("launch", "--dryrun", "--", "true", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert re.search(r"local .* \*$", done.stdout, re.MULTILINE)


def test_a_terminal_gets_colour_unless_it_does_not_want_it(sky_home):
    assert "\x1b[32menabled\x1b[0m" in on_terminal("check", "local")
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal("check", "local", env=env)
    assert "\x1b" not in sky("check", "local").stdout


def test_the_question_can_be_answered_no_or_not_at_all(sky_home):
    done = sky("launch", "-c", "dev", "--", "true", answer="what\nn\n")
    assert done.returncode == 1
    assert "Launching a new cluster 'dev'. Proceed? [Y/n]: " in done.stderr
    assert "Please answer y or n." in done.stderr
    assert "was not launched" in done.stderr
    done = sky("launch", "-c", "dev", "--", "true")
    assert done.returncode == 1
    assert "hint: Add -y" in done.stderr
    assert sky("status").stdout == "No existing clusters.\n"
    shown = on_terminal("launch", "-c", "dev", "--", "true", answer=("[Y/n]: ", "\x03"))
    assert "Interrupted." in shown
    assert "Traceback" not in shown


def test_the_life_of_a_cluster(sky_home, tmp_path):
    (tmp_path / "task.yaml").write_text("envs:\n  WHO: null\nrun: echo hello $WHO $TOKEN\n")
    env = {"TOKEN": "s3cr3t-value"}
    done = sky(
        "launch",
        "-c",
        "dev",
        "task.yaml",
        "--env",
        "WHO=you",
        "--secret",
        "TOKEN",
        answer="y\n",
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Considered resources (1 node):" in done.stdout
    assert "hello you s3cr3t-value\n" in done.stdout
    assert "✓ Job 1 on cluster 'dev' ended: SUCCEEDED." in done.stderr

    done = sky("exec", "dev", "-o", "json", "--secret", "TOKEN=s3cr3t-value", "--", "echo out; exit 3")
    assert done.returncode == 100
    outcome = json.loads(done.stdout)
    assert (outcome["cluster_name"], outcome["job_id"], outcome["status"]) == ("dev", 2, "FAILED")
    assert "out\n" in done.stderr
    assert "✗ Job 2 on cluster 'dev' ended: FAILED" in done.stderr

    done = sky("status", "-v")
    assert re.search(r"^dev +local +1x\[CPU:\d+\] +UP +- +a few secs ago ", done.stdout, re.MULTILINE)
    assert "--secret 'TOKEN=***'" in done.stdout
    assert "s3cr3t" not in done.stdout
    narrow = on_terminal("status", "-v", columns=90, env={"NO_COLOR": "1"})
    assert max(map(len, narrow.splitlines())) <= 90
    assert "…" in narrow
    (row,) = json.loads(sky("status", "-o", "json", "d*").stdout)
    assert (row["name"], row["status"]) == ("dev", "UP")
    assert sky("status", "--ip", "dev").stdout.strip() == row["head_ip"]

    rows = json.loads(sky("queue", "dev", "-o", "json").stdout)
    assert [(job["id"], job["status"]) for job in rows] == [(2, "FAILED"), (1, "SUCCEEDED")]
    assert sky("queue", "dev", "-s").stdout == "No jobs.\n"
    done = sky("logs", "dev", "1", "--no-follow")
    assert (done.returncode, done.stdout) == (0, "hello you s3cr3t-value\n")
    assert sky("logs", "dev", "2", "--status").returncode == 100
    done = sky("logs", "dev", "9")
    assert done.returncode == 1
    assert "no job 9" in done.stderr
    done = sky("logs", "dev", "-s", cwd=tmp_path)
    assert (tmp_path / done.stdout.splitlines()[0] / "run.log").read_text() == "hello you s3cr3t-value\n"

    (tmp_path / "data").write_text("payload")
    done = sky("rsync", "up", "dev", "data", "~/kept/data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = sky("rsync", "down", "dev", "~/kept/data", "back", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_text() == "payload"

    assert sky("autostop", "dev", "-i", "10", "--down", "-y").returncode == 0
    assert "10m (down)" in sky("status").stdout
    assert sky("autostop", "dev", "--cancel", "-y").returncode == 0
    assert sky("stop", "dev", answer="y\n").returncode == 0
    assert "STOPPED" in sky("status").stdout
    done = sky("exec", "dev", "--", "true")
    assert done.returncode == 1
    assert "`jupyter sky start dev`" in done.stderr
    assert sky("start", "dev", "-y").returncode == 0
    assert sky("logs", "dev", "1").stdout == "hello you s3cr3t-value\n"
    done = sky("down", "dev", answer="\n")
    assert done.returncode == 0
    assert "Terminating 1 cluster: dev. Proceed? [Y/n]: " in done.stderr
    assert sky("status").stdout == "No existing clusters.\n"
    done = sky("cost-report")
    assert re.search(r"^dev +local .* TERMINATED .* \$0\.00$", done.stdout, re.MULTILINE)
    kinds = {row["kind"] for row in json.loads(sky("ops", "list", "--all", "-o", "json").stdout)}
    assert kinds == {"launch", "stop", "start", "down"}


def test_interrupting_a_log_leaves_the_job(sky_home):
    process = begin("launch", "-c", "dev", "-y", "-n", "long", "--", "echo started; sleep 600")
    assert process.stdout is not None
    read_until(process.stdout, "started")
    said = end(process)
    assert process.returncode == 130
    assert "job 1 on cluster 'dev' goes on" in said
    assert "`jupyter sky logs dev 1`" in said
    assert "`jupyter sky cancel dev 1`" in said
    assert "Traceback" not in said
    assert "RUNNING" in sky("queue", "dev").stdout
    assert sky("logs", "dev", "--no-follow").returncode == 101
    done = sky("cancel", "dev", "long", "-y")
    assert "✓ Cancelled: 1" in done.stderr
    assert sky("logs", "dev", "1").returncode == 103
    assert "CANCELLED" in sky("queue", "dev").stdout


def test_interrupting_a_launch_leaves_the_operation(sky_home):
    with operations.cluster_lock("dev"):
        process = begin("launch", "-c", "dev", "-y", "--", "echo hi")
        assert process.stderr is not None
        shown = read_until(process.stderr, "wait")
        said = end(process)
    assert process.returncode == 130, shown + said
    found = re.search(r"`jupyter sky ops attach ([0-9a-f]+)`", said)
    assert found is not None, said
    done = sky("ops", "attach", found[1])
    assert done.returncode == 0, done.stderr
    assert "The launch of 'dev' is done" in done.stderr
    assert "UP" in sky("status").stdout
    assert "provision" in sky("ops", "log", found[1]).stdout
    assert "had ended already" in sky("ops", "cancel", found[1], "-y").stderr


def test_an_operation_can_be_cancelled(sky_home):
    with operations.cluster_lock("dev"):
        process = begin("launch", "-c", "dev", "-y", "--", "echo hi")
        assert process.stderr is not None
        read_until(process.stderr, "wait")
        (row,) = json.loads(sky("ops", "list", "-o", "json").stdout)
        assert sky("ops", "cancel", row["id"], "-y").returncode == 0
        end(process, interrupt=False)
    assert process.returncode == 130
    assert "No existing clusters." in sky("status").stdout
