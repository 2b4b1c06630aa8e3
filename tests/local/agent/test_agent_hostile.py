"""Calls that make no sense, and callers that mean harm: refused in words, and the agent goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.agent.wire import CallError

if TYPE_CHECKING:
    from agent_nodes import NodeUnderTest

WRONG = [
    True,
    -1,
    10**30,
    float("nan"),
    float("inf"),
    "../../../evil",
    "a\0b",
    "\ud800",
    [],
    [[]],
    {"a": [1]},
]
GOOD = {
    "job_id": 1,
    "phase": "run",
    "script": "true",
    "env": {},
    "timeout": 0.1,
    "everything": True,
    "active": [],
    "up_to": 0,
    "until": "ended",
    "wait": 0.1,
    "idle_minutes": -1,
    "peers": [{"rank": 0, "ip": "127.0.0.1"}],
}
#: Which parameters of which call are tried, one at a time.
CALLS = {
    "node.configure": ["peers"],
    "job.get": ["job_id"],
    "job.wait": ["job_id", "until", "wait"],
    "job.list": ["ids"],
    "job.cancel": ["ids"],
    "autostop.set": ["idle_minutes", "wait_for", "hook", "hook_timeout"],
    "rank.start": ["job_id", "phase", "env"],
    "rank.find": ["job_id", "phase"],
    "rank.wait": ["job_id", "phase", "timeout"],
    "rank.finish": ["job_id", "everything"],
    "rank.sync": ["active", "up_to"],
}
#: Texts that are scripts, empty lists, and yes where yes is meant, make sense.
SENSIBLE = {
    ("autostop.set", "idle_minutes"): [-1],
    ("autostop.set", "hook"): ["../../../evil"],
    ("autostop.set", "wait_for"): [[]],
    ("autostop.set", "hook_timeout"): [True, 10**30],
    ("job.list", "ids"): [[]],
    ("job.cancel", "ids"): [[]],
    ("rank.finish", "everything"): [True],
    ("rank.sync", "active"): [[]],
}


def refusal(client, method: str, **params: object) -> str:
    with pytest.raises(CallError) as caught:
        client.call(method, limit=10, **params)
    return caught.value.code


def test_a_parameter_that_makes_no_sense_is_refused(node: NodeUnderTest) -> None:
    client = node.client()
    for method, names in CALLS.items():
        for name in names:
            for value in WRONG:
                if any(value is good or value == good for good in SENSIBLE.get((method, name), [])):
                    continue
                code = refusal(client, method, **{**GOOD, name: value})
                assert code == "bad_params", (method, name, ascii(value))
    assert client.call("node.info")["jobs_active"] == 0
    assert "Traceback" not in (node.root / "agent.log").read_text()


STRANGE_JOBS = [
    {"submission_id": "a:b"},
    {"submission_id": "../../x"},
    {"submission_id": ""},
    {"user": "a\0b"},
    {"task_id": "\ud800"},
    {"run": "\ud800"},
    {"envs": {"A": "\ud800"}},
    {"envs": {"A=B": "x"}},
    {"cpus": float("nan")},
    {"gpus": 1e300},
    {"num_nodes": 0},
]


def test_a_job_that_makes_no_sense_is_refused(node: NodeUnderTest) -> None:
    client = node.client()
    good = {"submission_id": "ab" * 16, "run": "true"}
    for strange in STRANGE_JOBS:
        assert refusal(client, "job.submit", spec={**good, **strange}, secrets={}) == "bad_params", strange
    assert refusal(client, "job.submit", spec=good, secrets={"A": "\ud800"}) == "bad_params"
    assert client.call("job.list") == []


def test_streams_that_make_no_sense(node: NodeUnderTest) -> None:
    client = node.client()
    for rank in ([], {}, "x", 7, 10**30):
        with pytest.raises(CallError) as caught:
            client.call("node.info", rank=rank)
        assert caught.value.code in {"not_head", "no_such_rank"}
    assert "Traceback" not in (node.root / "agent.log").read_text()


def test_a_job_cannot_pass_for_a_keeper_of_secrets(node: NodeUnderTest) -> None:
    client = node.client()
    job = client.submit("env", envs={"JUPYTER_SKY_KEEPER": "x:y", "JUPYTER_SKY_NODE_ID": "other"})
    assert client.ended(job)["status"] == "SUCCEEDED"
    seen = client.log(job).decode()
    assert "JUPYTER_SKY_KEEPER" not in seen
    assert f"JUPYTER_SKY_NODE_ID={json.loads((node.root / 'node.json').read_text())['node_id']}" in seen
