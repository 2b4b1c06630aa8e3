"""This machine as an infra: the whole protocol with real agents, and what only a local cluster can suffer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from infra_conformance import REPORT, InfraConformance, ask_agent, new_request, peers, run_job, states, submit

from jupyter_sky.agent import process
from jupyter_sky.errors import InfraError, ProvisionError
from jupyter_sky.infra.base import NodeState, Offer, Rejection
from jupyter_sky.infra.local import LocalInfra, facts, processes
from jupyter_sky.infra.local.layout import ClusterFolder
from jupyter_sky.spec import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_sky.infra.base import ClusterHandle, ProvisionRequest


@pytest.fixture
def infra(sky_home: Path) -> Iterator[LocalInfra]:
    """Give the local infra of a fresh state folder; whatever a test leaves is removed, and it is told."""
    found = LocalInfra()
    yield found
    left = found.discover("ada")
    for handle in left:
        found.terminate(handle, REPORT)
    assert not left, "a test left clusters"


class TestConformance(InfraConformance):
    """Everything every infra must do."""

    @pytest.fixture
    def infra(self, infra: LocalInfra) -> LocalInfra:
        return infra


@pytest.fixture
def cluster(infra: LocalInfra) -> Iterator[ClusterHandle]:
    """Give a cluster of one node."""
    request = new_request(infra)
    try:
        yield infra.provision(request, REPORT)
    finally:
        infra.terminate(infra.reserve(request), REPORT)


def root_of(home: Path, handle: ClusterHandle, rank: int = 0) -> Path:
    """Give the root of a node's agent."""
    return ClusterFolder(home / "local", handle.cluster_id).node(rank).path


def agent_pid(home: Path, handle: ClusterHandle, rank: int = 0) -> int:
    """Give the process id of a node's agent."""
    return int(json.loads((root_of(home, handle, rank) / "ready.json").read_text())["pid"])


def log_of(home: Path, handle: ClusterHandle, job: dict[str, Any]) -> str:
    """Give what the head's rank of a job printed."""
    return (root_of(home, handle) / "jobs" / str(job["job_id"]) / "rank-0.log").read_text()


def kill(pid: int, wait_until: Callable[..., Any]) -> None:
    """Kill a process and wait until it is gone."""
    started = process.identity(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not process.is_alive(pid, started))


def truth(infra: LocalInfra, handle: ClusterHandle) -> tuple[NodeState, str]:
    """Give the state and reason of the head."""
    (node, *_) = infra.query([handle])[handle.cluster_id]
    return node.state, node.reason


def test_a_node_has_its_own_home_and_address_and_the_notebooks_python(
    infra: LocalInfra, sky_home: Path, cluster: ClusterHandle
) -> None:
    script = 'test "$HOME" = "$1" && test "$(command -v python)" = "$2" && test "$SKYPILOT_NODE_IPS" = "$3"'
    home = root_of(sky_home, cluster) / "home"
    python = Path(sys.executable).parent / "python"
    job = run_job(infra, cluster, f"set -- {home} {python} {cluster.nodes[0].ip}; {script}")
    assert job["status"] == "SUCCEEDED", log_of(sky_home, cluster, job)
    if sys.platform == "linux":
        assert cluster.nodes[0].ip.startswith("127.")
        assert cluster.nodes[0].ip != "127.0.0.1"


def test_what_the_caller_has_in_its_environment_does_not_reach_the_agent(
    infra: LocalInfra, sky_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_agents")
    request = new_request(infra)
    handle = infra.provision(request, REPORT)
    try:
        environment = process.environ(agent_pid(sky_home, handle))
        assert environment is not None
        assert "hf_not_for_agents" not in "".join(environment.values())
        assert environment["JUPYTER_SKY_NODE_ID"] == f"{handle.cluster_id}-0"
    finally:
        infra.terminate(handle, REPORT)


def test_everything_is_private_and_the_certificates_key_is_kept_nowhere(
    infra: LocalInfra, sky_home: Path
) -> None:
    request = new_request(infra, 2)
    handle = infra.provision(request, REPORT)
    try:
        paths = [sky_home / "local", *(sky_home / "local").rglob("*")]
        for path in paths:
            mode = path.lstat().st_mode & 0o777
            assert mode & 0o077 == 0 or path.is_symlink(), f"{path} is open to others: {mode:o}"
        assert len([path for path in paths if path.name == "key.pem"]) == 2
        assert {path.name for path in paths if path.suffix == ".pem"} == {"ca.pem", "cert.pem", "key.pem"}
    finally:
        infra.terminate(handle, REPORT)


def test_addresses_are_kept_over_stop_and_start(infra: LocalInfra) -> None:
    first, second = new_request(infra, 2), new_request(infra, 2)
    try:
        one, two = infra.provision(first, REPORT), infra.provision(second, REPORT)
        if sys.platform == "linux":
            assert len({node.ip for handle in (one, two) for node in handle.nodes}) == 4
        infra.stop(one, REPORT)
        again = infra.start(one, REPORT)
        assert [node.ip for node in again.nodes] == [node.ip for node in one.nodes]
    finally:
        for request in (first, second):
            infra.terminate(infra.reserve(request), REPORT)


def test_a_killed_agent_is_told_and_start_gives_a_new_one_that_finds_the_job(
    infra: LocalInfra, sky_home: Path, cluster: ClusterHandle, wait_until: Callable[..., Any]
) -> None:
    job = submit(infra, cluster, "while ! test -e ~/go; do sleep 0.02; done")
    ask_agent(infra, cluster, ("job.wait", {"job_id": job, "until": "started"}))
    kill(agent_pid(sky_home, cluster), wait_until)
    assert truth(infra, cluster) == (NodeState.RUNNING, "agent_lost")
    healed = infra.start(cluster, REPORT)
    assert truth(infra, healed) == (NodeState.RUNNING, "")
    (root_of(sky_home, cluster) / "home" / "go").touch()
    ended = ask_agent(infra, healed, ("job.wait", {"job_id": job, "until": "ended"}))
    assert ended["status"] == "SUCCEEDED"


def test_a_worker_that_lost_its_agent_is_healed_without_touching_the_others(
    infra: LocalInfra, sky_home: Path, wait_until: Callable[..., Any]
) -> None:
    request = new_request(infra, 2)
    try:
        handle = infra.provision(request, REPORT)
        head = agent_pid(sky_home, handle)
        kill(agent_pid(sky_home, handle, 1), wait_until)
        assert [node.reason for node in infra.query([handle])[handle.cluster_id]] == ["", "agent_lost"]
        healed = infra.start(handle, REPORT)
        assert agent_pid(sky_home, handle) == head
        ask_agent(infra, healed, ("node.configure", {"peers": peers(healed)}))
        assert ask_agent(infra, healed, ("node.info", {}), rank=1)["rank"] == 1
    finally:
        infra.terminate(infra.reserve(request), REPORT)


def test_after_a_restart_of_the_machine_the_truth_is_told(
    infra: LocalInfra, sky_home: Path, cluster: ClusterHandle, wait_until: Callable[..., Any]
) -> None:
    kill(agent_pid(sky_home, cluster), wait_until)
    ready = root_of(sky_home, cluster) / "ready.json"
    ready.write_text(json.dumps({**json.loads(ready.read_text()), "boot_id": "another boot"}))
    assert truth(infra, cluster) == (NodeState.STOPPED, "reboot")
    assert truth(infra, infra.start(cluster, REPORT)) == (NodeState.RUNNING, "")


@pytest.mark.parametrize(
    ("down", "state", "reason"), [(False, "STOPPED", "autostop"), (True, "GONE", "autodown")]
)
def test_a_cluster_that_ended_itself_says_why_and_when(
    infra: LocalInfra,
    cluster: ClusterHandle,
    wait_until: Callable[..., Any],
    down: bool,
    state: str,
    reason: str,
) -> None:
    settings = {"idle_minutes": 0, "down": down, "wait_for": "none", "hook": None, "hook_timeout": None}
    before = time.time()
    ask_agent(infra, cluster, ("autostop.set", settings))
    wait_until(lambda: truth(infra, cluster) == (NodeState(state), reason), 20)
    (node,) = infra.query([cluster])[cluster.cluster_id]
    assert node.ended_at is not None
    assert before <= node.ended_at <= time.time()


def test_a_clock_that_was_set_back_does_not_bring_a_stopped_node_to_life(
    infra: LocalInfra, sky_home: Path, cluster: ClusterHandle
) -> None:
    infra.stop(cluster, REPORT)
    tombstone = root_of(sky_home, cluster) / "ended.json"
    said = json.loads(tombstone.read_text())
    said["at"] = json.loads((root_of(sky_home, cluster) / "ready.json").read_text())["started_at"] - 3600
    tombstone.write_text(json.dumps(said))
    assert truth(infra, cluster)[0] is NodeState.STOPPED
    infra.start(cluster, REPORT)
    assert truth(infra, cluster)[0] is NodeState.RUNNING


def test_terminate_ends_what_a_job_tried_to_hide(
    infra: LocalInfra, sky_home: Path, cluster: ClusterHandle, wait_until: Callable[..., Any]
) -> None:
    submit(infra, cluster, "env -i setsid sh -c 'trap \"\" TERM; echo $$ > hidden; sleep 1000' & sleep 1000")
    hidden = root_of(sky_home, cluster) / "home" / "sky_workdir" / "hidden"
    wait_until(lambda: hidden.exists() and hidden.read_text().strip(), 10)
    pid = int(hidden.read_text())
    started = process.identity(pid)
    infra.terminate(cluster, REPORT)
    assert not process.is_alive(pid, started)
    assert processes.of_cluster(cluster.cluster_id) == set()
    assert not (sky_home / "local" / cluster.cluster_id).exists()


def test_a_cluster_in_a_clusters_task_is_not_taken_down_with_it(infra: LocalInfra, sky_home: Path) -> None:
    outer, inner = new_request(infra), new_request(infra)
    code = (
        f"{LAUNCH}\nLocalInfra(Path({str(sky_home)!r})).provision(request({inner.cluster_id!r}, 1), REPORT)"
    )
    try:
        handle = infra.provision(outer, REPORT)
        script = f"{sys.executable} - <<'END'\n{code}\nEND"
        job = run_job(infra, handle, script)
        assert job["status"] == "SUCCEEDED", log_of(sky_home, handle, job)
        infra.terminate(handle, REPORT)
        assert states(infra, infra.reserve(inner)) == [NodeState.RUNNING]
    finally:
        for request in (outer, inner):
            infra.terminate(infra.reserve(request), REPORT)


LAUNCH = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from jupyter_sky.events import SilentReporter
    from jupyter_sky.infra.base import Offer, ProvisionRequest
    from jupyter_sky.infra.local import LocalInfra
    from jupyter_sky.spec import Resources
    REPORT = SilentReporter()
    def request(cluster_id, num_nodes):
        offer = Offer("local", "local", 1, 1)
        return ProvisionRequest(cluster_id, "killed", num_nodes, offer, Resources(), "ada")
""")

KILL = textwrap.dedent("""
    home, cluster_id, num_nodes, point = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    seen = 0
    def strike(event, arguments):
        # Every change of the disk, every start of a process and every look for an agent's answer is a moment.
        global seen
        if event in {"os.mkdir", "os.rename", "subprocess.Popen"} or "ready.json" in str(arguments):
            seen += cluster_id in str(arguments) or "allocations" in str(arguments)
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)
    LocalInfra(Path(home))._bundle()
    sys.addaudithook(strike)
    LocalInfra(Path(home)).provision(request(cluster_id, num_nodes), REPORT)
    print(seen)
""")


def provision_and_die(home: Path, cluster_id: str, point: int) -> subprocess.CompletedProcess[str]:
    """Provision two nodes in a process that kills itself at its `point`-th moment."""
    return subprocess.run(
        [sys.executable, "-c", LAUNCH + KILL, str(home), cluster_id, "2", str(point)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("point", [1, 3, 6, 10, 14, 18, 20, 22, 24])
def test_a_kill_while_provisioning_leaks_nothing_and_can_be_continued(
    infra: LocalInfra, sky_home: Path, point: int
) -> None:
    killed, continued = os.urandom(16).hex(), os.urandom(16).hex()
    for cluster_id in (killed, continued):
        done = provision_and_die(sky_home, cluster_id, point)
        assert done.returncode == -signal.SIGKILL, done
    requests = [new_request(infra, 2) for _ in range(2)]
    first = as_request(requests[0], killed)
    infra.terminate(infra.reserve(first), REPORT)
    assert processes.of_cluster(killed) == set()
    assert not (sky_home / "local" / killed).exists()
    second = as_request(requests[1], continued)
    try:
        handle = infra.provision(second, REPORT)
        ask_agent(infra, handle, ("node.configure", {"peers": peers(handle)}))
        assert states(infra, handle) == [NodeState.RUNNING] * 2
    finally:
        infra.terminate(infra.reserve(second), REPORT)
    held = json.loads((sky_home / "local-allocations.json").read_text())
    assert held == {}


DIE_REMOVING = textwrap.dedent("""
    home, cluster_id, point = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seen = 0
    def strike(event, arguments):
        global seen
        seen += event in {"os.kill", "os.remove", "os.rmdir", "os.rename", "shutil.rmtree"}
        if seen == point:
            signal.raise_signal(signal.SIGKILL)
    infra = LocalInfra(Path(home))
    handle = infra.reserve(request(cluster_id, 2))
    sys.addaudithook(strike)
    infra.terminate(handle, REPORT)
""")


@pytest.mark.parametrize("point", [1, 2, 4, 8, 16, 32])
def test_a_kill_while_removing_is_made_good_by_the_next_removal(
    infra: LocalInfra, sky_home: Path, point: int
) -> None:
    request = new_request(infra, 2)
    try:
        handle = infra.provision(request, REPORT)
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH + DIE_REMOVING, str(sky_home), request.cluster_id, str(point)],
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL
    finally:
        infra.terminate(infra.reserve(request), REPORT)
    assert processes.of_cluster(request.cluster_id) == set()
    assert not (sky_home / "local" / request.cluster_id).exists()
    assert states(infra, handle) == [NodeState.GONE] * 2


def as_request(request: ProvisionRequest, cluster_id: str) -> ProvisionRequest:
    """Give the request with another id."""
    from dataclasses import replace

    return replace(request, cluster_id=cluster_id)


def test_an_agent_that_cannot_start_is_shown_with_the_end_of_its_log_and_nothing_is_lost(
    infra: LocalInfra, sky_home: Path, cluster: ClusterHandle
) -> None:
    infra.stop(cluster, REPORT)
    database = root_of(sky_home, cluster) / "agent.db"
    kept = database.rename(database.with_name("kept.db"))
    database.mkdir()
    with pytest.raises(InfraError, match=r"(?s)The agent of node 0 .*\n  \S"):
        infra.start(cluster, REPORT)
    assert states(infra, cluster) == [NodeState.STOPPED]
    database.rmdir()
    kept.rename(database)
    assert states(infra, infra.start(cluster, REPORT)) == [NodeState.RUNNING]


def test_a_failed_provision_says_why_and_removes_what_it_made(
    infra: LocalInfra, sky_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = new_request(infra, 3)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ProvisionError, match="agent of node"):
        infra.provision(request, REPORT)
    assert not (sky_home / "local" / request.cluster_id).exists()
    assert processes.of_cluster(request.cluster_id) == set()


def test_a_disk_that_takes_no_more_is_told_with_the_path_and_nothing_is_left(
    infra: LocalInfra, sky_home: Path
) -> None:
    """A limit on file sizes fails every write in the middle, as a full disk does, for root, too."""
    code = LAUNCH + textwrap.dedent("""
        import resource
        LocalInfra(Path(sys.argv[1]))._bundle()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        LocalInfra(Path(sys.argv[1])).provision(request(sys.argv[2], 1), REPORT)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(sky_home), "f" * 32], capture_output=True, text=True, check=False
    )
    assert "ProvisionError: The files of cluster 'killed' could not be made" in done.stderr
    assert f"{sky_home}/local/{'f' * 32}: File too large" in done.stderr
    assert not (sky_home / "local" / ("f" * 32)).exists()


def test_a_place_that_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "local").write_text("a file where the folder of all clusters should be")
    infra = LocalInfra(tmp_path)
    request = new_request(infra)
    with pytest.raises(ProvisionError) as caught:
        infra.provision(request, REPORT)
    assert f"could not be made in {tmp_path}/local/{request.cluster_id}: " in str(caught.value)
    assert "JUPYTER_SKY_HOME" in (caught.value.hint or "")


def test_a_state_folder_may_lie_deeper_than_a_sockets_path_can_be_long(tmp_path: Path) -> None:
    infra = LocalInfra(tmp_path / ("deep-" * 20) / ("deeper-" * 20))
    request = new_request(infra)
    try:
        handle = infra.provision(request, REPORT)
        assert ask_agent(infra, handle, ("node.info", {}))["cluster_id"] == request.cluster_id
    finally:
        infra.terminate(infra.reserve(request), REPORT)


SMI = """#!/bin/sh
printf '0, Tesla T4, 15360\\n1, Tesla T4, 15360\\n'
"""


def test_gpus_are_handed_out_to_one_cluster_at_a_time(
    infra: LocalInfra, sky_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's tool is a script here: what it prints is read and counted as on a machine with two T4s."""
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    facts._gpus.cache_clear()
    request = new_request(infra, 2, accelerators="T4:1")
    asked = Resources(accelerators="T4:1")
    try:
        handle = infra.provision(request, REPORT)
        assert infra.check().details["gpus"] == [{"gpu": "T4", "qty_per_node": 2, "total": 2, "free": 0}]
        (refused,) = infra.offers(asked, 1)
        assert isinstance(refused, Rejection)
        assert refused.reason == "T4:1 asked, 0 of the 2 T4 of this machine are free"
        assert [gpu["index"] for gpu in ask_agent(infra, handle, ("node.info", {}))["gpus"]] == [0]
        infra.stop(handle, REPORT)
        other = new_request(infra, 1, accelerators="T4:1")
        second = infra.provision(other, REPORT)
        with pytest.raises(InfraError, match="2 GPUs asked, 1 of 2 on this machine are free"):
            infra.start(handle, REPORT)
        infra.terminate(second, REPORT)
        infra.start(handle, REPORT)
        assert infra.check().details["gpus"][0]["free"] == 0
    finally:
        facts._gpus.cache_clear()
        infra.terminate(infra.reserve(request), REPORT)
    assert isinstance(infra.offers(Resources(), 1)[0], Offer)
