"""What an unkind world does: full disks, no IPv6, endless lines; and secrets that must not leak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.errors import SkyError
from jupyter_sky.flows import exec as exec_flow
from jupyter_sky.flows import jobs, launch, lifecycle, logs, status
from jupyter_sky.spec import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

CLI = [sys.executable, "-m", "jupyter_sky"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: run the tests as root")


def read_bytes(cluster: str, job_id: int | None) -> tuple[bytes, logs.LogEnd]:
    pieces: list[bytes] = []
    end = logs.tail(cluster, job_id, write=pieces.append)
    return b"".join(pieces), end


@pytest.fixture
def small_disk(sky_home: Path) -> Iterator[Path]:
    """Put the nodes of the test on a file system of 48 MB."""
    place = sky_home / "local"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        for row in status.status():
            lifecycle.down([row.name])
        subprocess.run(["umount", str(place)], check=True)


@needs_root
def test_a_full_disk_ends_the_job_and_not_the_agent(small_disk: Path) -> None:
    job = launch.launch(Task(run="head -c 100000000 /dev/zero > ~/big; echo written $?"), "dev").job_id
    ended = jobs.wait("dev", job, timeout=60)
    assert ended.ended
    for raw in small_disk.glob("*/node-0/home/big"):
        raw.unlink()
    after = exec_flow.exec_task(Task(run="echo fine"), "dev").job_id
    assert read_bytes("dev", after)[0] == b"fine\n"


@needs_root
def test_a_launch_onto_a_full_disk_is_refused_and_leaves_nothing(small_disk: Path) -> None:
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], check=False, capture_output=True)
    with pytest.raises(SkyError, match=r"(?i)space"):
        launch.launch(Task(run="true"), "dev")
    assert status.status() == []
    assert {path.name for path in small_disk.iterdir()} <= {"filler", "addresses.json", "addresses.lock"}
    filler.unlink()
    launch.launch(Task(run="true"), "dev")


@needs_root
def test_a_read_only_state_folder_is_told(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        done = subprocess.run(
            [*CLI, "status"],
            env={**os.environ, "JUPYTER_SKY_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr


@needs_root
def test_a_machine_without_ipv6_runs_a_gang(sky_home: Path) -> None:
    script = (
        "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && "
        f"{sys.executable} -m jupyter_sky launch -y -c six --num-nodes 2 'echo rank $SKYPILOT_NODE_RANK'; "
        f"code=$?; {sys.executable} -m jupyter_sky down -y six; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rank 0" in done.stdout
    assert "rank 1" in done.stdout


def test_ten_megabytes_without_a_newline(sky_home: Path) -> None:
    job = launch.launch(Task(run="head -c 10000000 /dev/zero | tr '\\0' x"), "dev").job_id
    data, end = read_bytes("dev", job)
    assert end.status == "SUCCEEDED"
    assert data == b"x" * 10_000_000


def test_ten_megabytes_without_a_newline_on_a_gang(sky_home: Path) -> None:
    job = launch.launch(Task(run="head -c 10000000 /dev/zero | tr '\\0' x", num_nodes=2), "dev").job_id
    data, end = read_bytes("dev", job)
    assert end.status == "SUCCEEDED"
    assert data.count(b"x") == 20_000_000


def test_binary_output_arrives_as_it_is(sky_home: Path) -> None:
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000)"
    job = launch.launch(Task(run=f'python3 -c "{script}"'), "dev").job_id
    data, _ = read_bytes("dev", job)
    assert data == bytes(range(256)) * 4000


def test_a_million_lines_as_fast_as_they_come(sky_home: Path) -> None:
    job = launch.launch(Task(run="seq 1 1000000"), "dev").job_id
    data, end = read_bytes("dev", job)
    assert end.status == "SUCCEEDED"
    assert data == b"".join(b"%d\n" % n for n in range(1, 1_000_001))


def files_with(needle: bytes, folder: Path) -> list[str]:
    """Look in another process: to open and close a database here would take away SQLite's own locks on it."""
    found = subprocess.run(
        ["grep", "-rlaF", "-f", "-", str(folder)], input=needle, capture_output=True, check=False
    )
    passing = b"No such file or directory"  # it was removed while grep walked
    assert all(line.endswith(passing) for line in found.stderr.splitlines()), found.stderr
    return found.stdout.decode().splitlines()


def processes_with(needle: bytes, what: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                data = (entry / what).read_bytes()
            except OSError:
                continue
            if needle in data:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc: Linux only")
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_secret_is_nowhere_but_in_the_environment_of_its_task(
    sky_home: Path, nodes: int, tmp_path: Path
) -> None:
    secret = "hunter2-" + os.urandom(8).hex()
    (tmp_path / "secrets.env").write_text(f"TOKEN={secret}\n")
    (tmp_path / "task.yaml").write_text(
        f'num_nodes: {nodes}\nsecrets:\n  TOKEN: null\nsetup: test -n "$TOKEN"\n'
        "run: |\n  echo ${#TOKEN}; until [ -e ~/go ]; do sleep 0.05; done\n"
    )
    done = subprocess.run(
        [*CLI, "launch", "-y", "-d", "-c", "dev", "--secret-file", "secrets.env", "task.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    jobs.wait("dev", 1, until="started", timeout=30)
    needle = secret.encode()
    assert needle.decode() not in done.stdout + done.stderr
    assert files_with(needle, sky_home) == []
    assert processes_with(needle, "cmdline") == []
    holders = processes_with(needle, "environ")
    assert holders
    for pid in holders:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"JUPYTER_SKY_NODE_ID=" in environment
        assert b"JUPYTER_SKY_JOB=" in environment or b"SKYPILOT_TASK_ID=" in environment
    for home in (sky_home / "local").glob("*/node-*/home"):
        (home / "go").touch()
    data, end = read_bytes("dev", 1)
    assert end.status == "SUCCEEDED"
    assert str(len(secret)).encode() in data
    assert files_with(needle, sky_home) == []
    assert processes_with(needle, "environ") == []
