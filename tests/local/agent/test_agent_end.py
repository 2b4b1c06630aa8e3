"""The end of a node: asked for, by idleness, from outside; and that nothing is left."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from agent_nodes import wait_until

from jupyter_sky.agent import process
from jupyter_sky.agent.wire import CallError

HIDING = (
    "setsid sh -c 'while :; do sleep 1000; done' &\n"
    "(setsid sleep 1000 &)\n"
    "env -i setsid sleep 1000 &\n"
    "python3 -c 'import os,time,signal\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "time.sleep(1000)'\n"
)


def children_of(pid: int) -> set[int]:
    return process.descendants([proc for proc in process.snapshot() if not proc.zombie], [pid])


def reason(node) -> str:
    return json.loads((node.root / "ended.json").read_text())["reason"]


def test_shutdown_leaves_no_process_however_it_hides(node, client):
    client.ended(client.submit(HIDING, secrets={"A": "b"}))
    job_id = client.submit(HIDING + "sleep 1000")
    waiting = client.submit("true", cpus=4, secrets={"A": "b"})
    client.wait_status(job_id, "RUNNING")
    agent, start = node.pid, node.ready["start_time"]
    wait_until(lambda: len(children_of(agent)) >= 6, what="the job's processes")
    family = children_of(agent)
    assert client.call("node.shutdown", reason="stop") == {}
    starts = {pid for pid in family if process.identity(pid) is not None}
    assert starts == set()
    wait_until(lambda: not process.is_alive(agent, start), what="the agent's end")
    assert node.processes() == set()
    assert reason(node) == "stop"
    node.serve()
    again = node.client()
    assert [again.status(job) for job in (job_id, waiting)] == ["CANCELLED", "CANCELLED"]
    assert not (node.root / "ended.json").exists()


def test_shutdown_needs_a_known_reason(client):
    with pytest.raises(CallError) as refused:
        client.call("node.shutdown", reason="boredom")
    assert refused.value.code == "bad_params"


def test_stop_from_outside_ends_a_node_with_an_agent_and_without(node, client):
    for kill in (False, True):
        client.wait_status(client.submit("setsid sleep 1000 & sleep 1000"), "RUNNING")
        if kill:
            node.kill()
        done = subprocess.run([*node.argv, "stop", "--root", str(node.root)], timeout=60, check=False)
        assert done.returncode == 0
        assert node.processes() == set()
        assert reason(node) == "stop"
        if not kill:
            node.serve()
            client = node.client()


def test_a_node_that_ends_takes_no_jobs(node, client):
    client.wait_status(client.submit("trap '' TERM; while :; do sleep 0.1; done"), "RUNNING")
    asking = client.session.call("node.shutdown", {"reason": "down"}, 60)
    import asyncio

    ending = asyncio.run_coroutine_threadsafe(asking, client._loop)
    other = node.client()
    wait_until(lambda: b"ending the node" in (node.root / "agent.log").read_bytes())
    with pytest.raises(CallError) as refused:
        other.submit("true")
    assert refused.value.code == "node_ending"
    assert ending.result(60) == {}
    assert reason(node) == "down"


def test_autostop_ends_an_idle_node_after_its_time(node, client):
    job_id = client.submit("sleep 0.5")
    began = time.time()
    client.call(
        "autostop.set", idle_minutes=0.3 / 60, down=False, wait_for=None, hook=None, hook_timeout=None
    )
    assert client.call("node.info")["idle_since"] is None
    wait_until(lambda: not process.is_alive(node.pid, node.ready["start_time"]), what="autostop")
    ended = json.loads((node.root / "ended.json").read_text())
    assert ended["reason"] == "autostop"
    assert 0.75 < ended["at"] - began < 5
    node.serve()
    again = node.client()
    assert again.status(job_id) == "SUCCEEDED"
    assert again.call("autostop.get") is None  # a node that was started again begins without


def test_autodown_leaves_only_the_reason(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    client.ended(client.submit("echo x > file; mkdir folder; ln -s / root", num_nodes=2))
    client.call("autostop.set", idle_minutes=0, down=True)
    for node in cluster.nodes:
        wait_until(lambda node=node: not node.processes(), what="autodown")
        assert [path.name for path in node.root.iterdir()] == ["ended.json"]
        assert reason(node) == "autodown"


def test_a_held_session_counts_as_activity_unless_told_otherwise(node, client):
    hold = client.open("hold", what="ssh")
    setting = {"idle_minutes": 0.05 / 60, "down": False, "hook": None, "hook_timeout": None}
    client.call("autostop.set", wait_for="jobs_and_ssh", **setting)
    assert client.call("autostop.get") == {"wait_for": "jobs_and_ssh", **setting}
    assert client.call("node.info")["idle_since"] is None
    assert client.call("job.list") == []
    client.run(hold.close())
    wait_until(lambda: not node.processes(), what="autostop")


def test_a_held_session_does_not_count_where_only_jobs_do(node, client):
    client.open("hold", what="ssh")
    client.call("autostop.set", idle_minutes=0, wait_for="jobs")
    wait_until(lambda: not node.processes(), what="autostop")


def test_autostop_that_waits_for_nothing_ends_running_jobs(node, client):
    job_id = client.submit("sleep 1000")
    client.wait_status(job_id, "RUNNING")
    client.call("autostop.set", idle_minutes=0.05 / 60, wait_for="none")
    wait_until(lambda: not node.processes(), what="autostop")
    node.serve()
    assert node.client().status(job_id) == "CANCELLED"


def test_autostop_outlives_its_agent_and_can_be_cleared(node, client):
    client.call("autostop.set", idle_minutes=600)
    since = client.call("node.info")["idle_since"]
    node.kill()
    node.serve()
    again = node.client()
    assert again.call("autostop.get")["idle_minutes"] == 600
    assert again.call("node.info")["idle_since"] == pytest.approx(since, abs=0.01)
    again.call("autostop.set", idle_minutes=-1)
    assert again.call("autostop.get") is None


def test_the_hook_runs_before_the_end_and_jobs_are_refused_meanwhile(node, client, tmp_path):
    hook = f"echo $JUPYTER_SKY_NODE_ID > {tmp_path}/hook; while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done"
    client.call("autostop.set", idle_minutes=0, hook=hook, hook_timeout=30)
    wait_until(lambda: (tmp_path / "hook").exists() and (tmp_path / "hook").read_text())
    assert (tmp_path / "hook").read_text().strip() == node.node_id
    with pytest.raises(CallError) as refused:
        client.submit("true")
    assert refused.value.code == "node_ending"
    (tmp_path / "gate").touch()
    wait_until(lambda: not node.processes(), what="autostop")


def test_a_hook_that_takes_too_long_is_ended(node, client):
    client.call("autostop.set", idle_minutes=0, hook="sleep 1000", hook_timeout=0.1)
    wait_until(lambda: not node.processes(), what="autostop")
    assert reason(node) == "autostop"
