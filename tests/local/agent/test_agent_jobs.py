"""Jobs on one node: what they see, how they end, and in which order they run."""

from __future__ import annotations

import stat
import subprocess
import uuid

import pytest
from agent_nodes import lives, wait_until

from jupyter_sky.agent.wire import CallError


def test_a_job_runs_setup_then_run_with_its_environment(node, client):
    job_id = client.submit(
        "echo run $SKYPILOT_NODE_RANK $SKYPILOT_NODE_IPS $SKYPILOT_NUM_NODES $SKYPILOT_TASK_ID $A $S\n"
        "pwd; echo $HOME",
        setup="echo setup $SKYPILOT_SETUP_NODE_RANK $SKYPILOT_SETUP_NODE_IPS ${SKYPILOT_NODE_RANK-none}",
        envs={"A": "it's $HOME"},
        secrets={"S": "hidden"},
    )
    assert client.log(job_id, follow=True).decode().splitlines() == [
        "setup 0 127.0.0.1 none",
        f"run 0 127.0.0.1 1 task-{job_id} it's $HOME hidden",
        str(node.home / "sky_workdir"),
        str(node.home),
    ]
    job = client.ended(job_id)
    assert (job["status"], job["exit_codes"], job["reason"]) == ("SUCCEEDED", [0], None)
    assert job["submitted_at"] <= job["started_at"] <= job["ended_at"]
    assert job["log_path"] == str(node.root / "jobs" / str(job_id) / "rank-0.log")


def test_what_a_job_sees_is_not_what_its_launcher_was(node, client):
    env = client.log(client.submit("env"), follow=True).decode()
    assert f"JUPYTER_SKY_NODE_ID={node.node_id}\n" in env
    assert "VIRTUAL_ENV" not in env
    assert "SKYPILOT_CLUSTER_INFO={" in env
    assert "CUDA_VISIBLE_DEVICES" not in env


@pytest.mark.parametrize(
    ("fields", "status", "codes"),
    [
        ({"run": "exit 3"}, "FAILED", [3]),
        ({"setup": "exit 4", "run": "echo never"}, "FAILED_SETUP", [4]),
        ({"run": "kill -9 $$"}, "FAILED", [137]),
        ({"setup": "true", "run": None}, "SUCCEEDED", [0]),
        ({"run": None}, "SUCCEEDED", [0]),
        ({"run": "no-such-command"}, "FAILED", [127]),
    ],
)
def test_how_a_job_ends_is_told(client, fields, status, codes):
    job = client.ended(client.submit(**fields))
    assert (job["status"], job["exit_codes"]) == (status, codes)
    assert (job["reason"] is None) == (status == "SUCCEEDED")


def test_submitting_twice_under_one_id_runs_once(client):
    submission_id = uuid.uuid4().hex
    first = client.submit("echo once", submission_id=submission_id)
    client.ended(first)
    assert client.submit("echo twice", submission_id=submission_id) == first
    assert [job["job_id"] for job in client.call("job.list")] == [first]


def test_small_jobs_run_side_by_side_and_never_overtake_a_large_one(make_node, tmp_path):
    node = make_node(cpus=2)
    node.serve()
    client = node.client()
    gate = tmp_path / "gate"
    hold = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    one = client.submit(hold, cpus=1)
    two = client.submit(hold, cpus=0.5)
    client.wait_status(one, "RUNNING")
    client.wait_status(two, "RUNNING")
    large = client.submit("true", cpus=2)
    small = client.submit("true", cpus=0.5)  # there would be room for it
    assert [client.status(job) for job in (large, small)] == ["PENDING", "PENDING"]
    gate.touch()
    jobs = [client.ended(job) for job in (one, two, large, small)]
    assert [job["status"] for job in jobs] == ["SUCCEEDED"] * 4
    assert jobs[2]["started_at"] >= max(jobs[0]["ended_at"], jobs[1]["ended_at"])
    assert jobs[3]["started_at"] >= jobs[2]["started_at"]


def test_gpus_are_handed_out_whole_and_in_fractions(make_node, tmp_path):
    gpus = [{"index": index, "name": "T4", "memory_mb": 16000} for index in (0, 1, 3)]
    node = make_node(gpus=gpus)
    node.serve()
    client = node.client()
    gate = tmp_path / "gate"
    show = "echo [$CUDA_VISIBLE_DEVICES] $SKYPILOT_NUM_GPUS_PER_NODE"
    hold = f"{show}; while [ ! -e {gate} ]; do sleep 0.02; done"
    halves = [client.submit(hold, gpus=0.5) for _ in range(2)]
    pair = client.submit(hold, gpus=2)
    late = client.submit(hold, gpus=0.1)
    none = client.submit("echo [$CUDA_VISIBLE_DEVICES]", gpus=0)
    for job in (*halves, pair):
        client.wait_status(job, "RUNNING")
    assert client.status(late) == client.status(none) == "PENDING"
    gate.touch()
    assert [client.log(job, follow=True) for job in halves] == [b"[0] 1\n", b"[0] 1\n"]
    assert client.log(pair, follow=True) == b"[1,3] 2\n"
    assert client.log(none, follow=True) == b"[]\n"
    assert [client.ended(job)["gpus"] for job in (*halves, pair, none)] == [[[0]], [[0]], [[1, 3]], [[]]]
    client.ended(late)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"cpus": 64}, "does_not_fit", "64 CPUs"),
        ({"gpus": 1, "gpu_name": "A100"}, "does_not_fit", "A100"),
        ({"num_nodes": 2}, "does_not_fit", "2 nodes"),
        ({"gpus": 1.5}, "bad_params", "1.5 GPUs"),
        ({"cpus": "2"}, "bad_params", "cpus"),
        ({"colour": "red"}, "bad_params", "colour"),
        ({"envs": {"A": 1}}, "bad_params", "value of A"),
        ({"num_nodes": 0}, "bad_params", "num_nodes"),
    ],
)
def test_a_job_that_can_never_run_is_refused(client, fields, code, words):
    with pytest.raises(CallError, match=words) as refused:
        client.submit("true", **fields)
    assert refused.value.code == code
    assert client.call("job.list") == []


def test_a_secret_that_cannot_be_an_environment_variable_is_refused_unseen(client):
    with pytest.raises(CallError) as refused:
        client.submit("true", secrets={"A": "top\0secret"})
    assert "secret'" not in str(refused.value)
    assert "top" not in str(refused.value)


def test_cancel_ends_what_hides_in_another_session_and_ignores_term(client, tmp_path):
    pids = tmp_path / "pids"
    job_id = client.submit(
        f"setsid sh -c 'echo $$ >> {pids}; exec sleep 1000' &\n"
        f"(trap '' TERM; echo $BASHPID >> {pids}; while :; do sleep 0.1; done) &\n"
        f"env -i setsid sh -c 'echo $$ >> {pids}; exec sleep 1000' &\n"
        "wait"
    )
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    assert client.call("job.cancel", ids=[job_id]) == {"cancelled": [job_id]}
    job = client.call("job.get", job_id=job_id)
    assert (job["status"], job["exit_codes"]) == ("CANCELLED", [137])
    for pid in pids.read_text().split():
        assert not lives(pid)


def test_cancel_of_all_ends_waiting_jobs_too(client):
    running = client.submit("sleep 1000", cpus=4)
    waiting = client.submit("sleep 1000", cpus=4)
    done = client.call("job.cancel", ids=None)
    assert sorted(done["cancelled"]) == [running, waiting]
    assert [client.status(job) for job in (running, waiting)] == ["CANCELLED", "CANCELLED"]
    assert client.call("job.cancel", ids=[running])["cancelled"] == []


def test_what_a_finished_job_left_in_the_background_ends(client, tmp_path):
    pid_file = tmp_path / "pid"
    client.ended(client.submit(f"sleep 1000 & echo $! > {pid_file}"))
    assert not lives(pid_file.read_text())


def test_asking_for_no_job_is_an_error(client):
    for job_id in (None, 7):
        with pytest.raises(CallError) as refused:
            client.call("job.get", job_id=job_id)
        assert refused.value.code == "job_not_found"


def test_the_list_can_be_narrowed(client):
    done = client.submit("true")
    client.ended(done)
    running = client.submit("sleep 1000")
    assert [job["job_id"] for job in client.call("job.list", active=True)] == [running]
    assert [job["job_id"] for job in client.call("job.list", ids=[done])] == [done]
    assert client.call("node.info")["jobs_active"] == 1


def test_wait_gives_the_job_as_it_is_when_time_is_up(client):
    job_id = client.submit("sleep 1000")
    assert client.call("job.wait", job_id=job_id, until="started", wait=10)["status"] == "RUNNING"
    assert client.call("job.wait", job_id=job_id, until="ended", wait=0.05)["status"] == "RUNNING"


def test_a_home_that_cannot_be_written_fails_the_job_with_the_reason(make_node, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    node = make_node(home=str(in_the_way))
    node.serve()
    client = node.client()
    job = client.ended(client.submit("true"))
    assert job["status"] == "FAILED_DRIVER"
    assert str(in_the_way) in job["reason"]
    assert job["reason"] in client.log(job["job_id"]).decode()


def test_files_of_a_job_are_private_and_hold_no_secret(node, client):
    secret = uuid.uuid4().hex
    blocker = client.submit("sleep 1000", cpus=4)
    job_id = client.submit("true", setup="true", secrets={"TOKEN": secret})
    assert node.files_with(secret) == []
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert secret not in commands
    client.call("job.cancel", ids=[blocker])
    assert client.ended(job_id)["status"] == "SUCCEEDED"
    assert node.files_with(secret) == []
    for path in (node.root / "jobs").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0 or path.suffix in {".claim", ".code"}, f"{path} is {mode:o}"
