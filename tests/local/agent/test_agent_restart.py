"""An agent that is killed at any moment, or cannot begin, and what the next one finds."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path

import pytest
from agent_nodes import NodeUnderTest, wait_until

from jupyter_sky.agent import process
from jupyter_sky.agent.wire import CallError

OLD_PYTHON = Path("/root/.pyenv/versions/3.8.18/bin/python")


def test_a_running_job_outlives_its_agent(node, client, tmp_path):
    gate = tmp_path / "gate"
    job_id = client.submit(f"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after; exit 5")
    wait_until(lambda: client.log(job_id) == b"before\n")
    node.kill()
    node.serve()
    again = node.client()
    assert again.status(job_id) == "RUNNING"
    gate.touch()
    job = again.ended(job_id)
    assert (job["status"], job["exit_codes"]) == ("FAILED", [5])
    assert again.log(job_id) == b"before\nafter\n"


def test_a_job_that_ended_while_no_agent_lived_has_its_code(node, client, tmp_path):
    gate = tmp_path / "gate"
    job_id = client.submit(f"while [ ! -e {gate} ]; do sleep 0.02; done; exit 6")
    client.wait_status(job_id, "RUNNING")
    node.kill()
    gate.touch()
    code = node.root / "jobs" / str(job_id) / "run.code"
    wait_until(lambda: code.exists() and code.read_text() == "6\n")
    node.serve()
    assert node.client().ended(job_id)["exit_codes"] == [6]


def test_a_job_whose_process_was_killed_while_no_agent_lived_is_told_so(node, client):
    job_id = client.submit("sleep 1000")
    client.wait_status(job_id, "RUNNING")
    node.kill()

    def nothing_left() -> bool:
        process.send(node.processes(), signal.SIGKILL)
        return not node.processes()

    wait_until(nothing_left)
    node.serve()
    job = node.client().ended(job_id)
    assert (job["status"], job["exit_codes"]) == ("FAILED_DRIVER", [None])
    assert "without an exit code" in job["reason"]


def test_a_job_of_before_a_reboot_is_given_up(node, client):
    job_id = client.submit("sleep 1000")
    client.wait_status(job_id, "RUNNING")
    node.kill()
    claim = node.root / "jobs" / str(job_id) / "run.claim"
    claim.write_text(claim.read_text().replace(process.boot_id(), "0" * 36))
    node.serve()
    assert node.client().ended(job_id)["status"] == "FAILED_DRIVER"
    wait_until(lambda: node.processes() == {node.pid}, what="the end of the job's process")


def test_a_waiting_job_keeps_its_place_and_its_secrets(node, client):
    secret = uuid.uuid4().hex
    blocker = client.submit("sleep 1000", cpus=4)
    job_id = client.submit("echo $TOKEN", setup="echo $TOKEN", secrets={"TOKEN": secret})
    plain = client.submit("true")
    node.kill()
    assert node.files_with(secret) == []
    node.serve()
    again = node.client()
    assert [again.status(job) for job in (blocker, job_id, plain)] == ["RUNNING", "PENDING", "PENDING"]
    again.call("job.cancel", ids=[blocker])
    assert again.ended(job_id)["status"] == "SUCCEEDED"
    assert again.log(job_id).decode().split() == [secret, secret]
    again.ended(plain)
    wait_until(lambda: node.processes() == {node.pid}, what="the end of the keeper")


def test_a_job_whose_secrets_are_lost_fails_with_the_reason(node, client):
    blocker = client.submit("sleep 1000", cpus=4)
    job_id = client.submit("true", secrets={"TOKEN": "x"})
    node.kill()
    for pid in node.processes():
        if "JUPYTER_SKY_KEEPER" in (process.environ(pid) or {}):
            os.kill(pid, signal.SIGKILL)
    node.serve()
    again = node.client()
    again.call("job.cancel", ids=[blocker])
    job = again.ended(job_id)
    assert job["status"] == "FAILED_DRIVER"
    assert "secrets were lost" in job["reason"]


def test_setup_runs_once_though_the_agent_is_killed_in_it(node, client, tmp_path):
    count = tmp_path / "count"
    job_id = client.submit(
        "echo $TOKEN",
        setup=f"echo x >> {count}; while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done",
        secrets={"TOKEN": "t"},
    )
    wait_until(count.exists)
    for _ in range(2):
        node.kill()
        node.serve()
    (tmp_path / "gate").touch()
    again = node.client()
    assert again.ended(job_id)["status"] == "SUCCEEDED"
    assert count.read_text() == "x\n"
    assert again.log(job_id) == b"t\n"


def test_submitting_while_agents_die_takes_every_job_once(node, tmp_path):
    ids = [uuid.uuid4().hex for _ in range(12)]
    out = tmp_path / "out"
    for number, submission_id in enumerate(ids):
        client = node.client()
        client.submit(f"echo {number} >> {out}", submission_id=submission_id, secrets={"A": "b"})
        if number % 3 == 0:
            node.kill()
            node.serve()
            client = node.client()
            client.submit(f"echo {number} >> {out}", submission_id=submission_id, secrets={"A": "b"})
    client = node.client()
    jobs = client.call("job.list")
    assert len(jobs) == len(ids)
    assert {client.ended(job["job_id"])["status"] for job in jobs} == {"SUCCEEDED"}
    assert sorted(map(int, out.read_text().split())) == list(range(12))


def test_a_second_agent_says_who_serves(node):
    second = node.serve(check=False)
    assert second.returncode == 3
    assert f"(process {node.pid}) already serves {node.root}" in second.stderr


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda node: (node.root / "node.json").unlink(), "is not the root of a node"),
        (lambda node: (node.root / "node.json").write_text("{"), "cannot be read"),
        (lambda node: (node.root / "node.json").write_text("{}"), "does not describe a node"),
        (
            lambda node: (node.root / "agent.db").write_bytes(b"no database" * 1000),
            "agent.db cannot be opened",
        ),
    ],
)
def test_a_root_that_cannot_be_served_is_said_to_the_launcher(make_node, spoil, words):
    node = make_node()
    spoil(node)
    done = node.serve(check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_taken_is_said_to_the_launcher(make_cluster):
    cluster = make_cluster(2)
    first, second = cluster.nodes
    first.serve()
    fields = json.loads((second.root / "node.json").read_text())
    fields["listen"] = f"{first.ip}:{first.ready['port']}"
    (second.root / "node.json").write_text(json.dumps(fields))
    done = second.serve(check=False)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "already in use" in done.stderr


def test_a_deep_root_is_no_trouble_for_the_socket(tmp_path):
    node = NodeUnderTest(tmp_path / ("deep" * 40) / "er")
    try:
        node.serve()
        assert node.client().call("node.info")["node_id"] == node.node_id
    finally:
        node.clean()


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="there is no Python 3.8 here")
def test_the_oldest_python_serves_a_gang(make_cluster, tmp_path):
    import shutil

    import jupyter_sky.agent

    package = tmp_path / "lib" / "agent_under_test"
    shutil.copytree(
        Path(jupyter_sky.agent.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    start = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
        "from agent_under_test.__main__ import main; sys.exit(main())"
    )
    cluster = make_cluster(2, argv=[str(OLD_PYTHON), "-c", start])
    client = cluster.up()
    job_id = client.submit("echo $SKYPILOT_NODE_RANK", setup="true", num_nodes=2, secrets={"A": "b"})
    assert client.ended(job_id)["status"] == "SUCCEEDED"
    assert len(client.log(job_id, follow=True).splitlines()) == 2
    cluster.head.kill()
    cluster.head.serve()
    again = cluster.head.client()
    running = again.submit("sleep 1000", num_nodes=2)
    again.wait_status(running, "RUNNING")
    assert again.call("job.cancel", ids=[running])["cancelled"] == [running]


def test_a_broken_call_is_answered_and_harms_nothing(client):
    with pytest.raises(CallError) as refused:
        client.call("no.such.method")
    assert refused.value.code == "unknown_method"
    with pytest.raises(CallError) as refused:
        client.call("autostop.set", idle_minutes="soon")
    assert refused.value.code == "bad_params"
    assert client.call("node.info")["agent"]["version"]
