"""What is read, written and read again is the same, from YAML and from Python."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_sky.spec import Resources, Task, load_pipeline, parse_pipeline

DATA = Path(__file__).parent / "data"

words = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=12)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
variables = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
# Everything that a file in UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
scripts = st.one_of(texts, st.lists(texts, max_size=5).map("\n".join))
accelerator = st.builds(
    lambda name, count: f"{name}:{count}",
    st.sampled_from(["T4", "a100-80gb", "H100", "MyCard"]),
    st.sampled_from(["1", "8", "0.5", "2.0"]),
)
place = st.builds(
    "/".join, st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), min_size=1, max_size=3)
)

fields: dict[str, st.SearchStrategy[Any]] = {
    "infra": place.filter(lambda text: not text.startswith(("k8s", "kubernetes"))),
    "accelerators": st.one_of(
        accelerator,
        st.lists(accelerator, min_size=1, max_size=3),
        st.sets(accelerator, min_size=1, max_size=3),
    ),
    "cpus": st.one_of(st.integers(1, 256), st.sampled_from(["4", "0.5", "8+"])),
    "memory": st.one_of(st.integers(1, 4096), st.sampled_from(["4x", "16+", "2x+", "512MB", "1TB"])),
    "instance_type": words,
    "use_spot": st.booleans(),
    "job_recovery": st.one_of(
        st.sampled_from(["failover", "EAGER_NEXT_REGION"]),
        st.fixed_dictionaries(
            {
                "max_restarts_on_errors": st.integers(0, 9),
                "recover_on_exit_codes": st.lists(st.integers(0, 255)),
            }
        ),
    ),
    "disk_size": st.one_of(st.integers(1, 9999), st.just("1TB")),
    "disk_tier": st.sampled_from(["low", "best", "none", "ULTRA"]),
    "network_tier": st.sampled_from(["standard", "best"]),
    "max_hourly_cost": st.floats(0, 1000, allow_nan=False),
    "ports": st.lists(st.one_of(st.integers(1, 65535), st.sampled_from(["8000-8010", "22"])), max_size=4),
    "image_id": st.one_of(words, st.dictionaries(words, words, min_size=1, max_size=2)),
    "labels": st.dictionaries(texts, texts, max_size=3),
    "priority": st.integers(-1000, 1000),
    "autostop": st.one_of(
        st.booleans(),
        st.integers(-1, 100),
        st.sampled_from(["10m", "2h", "90s"]),
        st.fixed_dictionaries(
            {"idle_minutes": st.integers(0, 100), "down": st.booleans(), "hook": st.just("echo x")}
        ),
    ),
}
flat = st.fixed_dictionaries({}, optional=fields)
resources = st.one_of(
    flat,
    st.builds(
        lambda base, key, items: {**base, key: items},
        flat,
        st.sampled_from(["any_of", "ordered"]),
        st.lists(flat, min_size=1, max_size=3),
    ),
)
tasks = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "num_nodes": st.integers(1, 100),
        "setup": scripts,
        "run": scripts,
        "workdir": st.one_of(words, st.fixed_dictionaries({"url": words, "ref": words})),
        "resources": resources,
        "file_mounts": st.dictionaries(
            words,
            st.one_of(words, st.fixed_dictionaries({"name": words, "mode": st.just("copy")})),
            max_size=3,
        ),
        "service": st.fixed_dictionaries(
            {
                "readiness_probe": st.fixed_dictionaries(
                    {"path": words.map("/".__add__), "headers": st.dictionaries(texts, texts, max_size=2)}
                )
            },
            optional={"replicas": st.integers(0, 9), "ports": st.integers(1, 65535)},
        ),
        "event_callback": scripts,
        "inputs": st.dictionaries(words, st.integers(0, 99), max_size=1),
    },
)


@given(resources)
@settings(max_examples=150, deadline=None)
def test_resources_round_trip(config: dict[str, Any]) -> None:
    made = Resources(**config)
    again = Resources(**json.loads(json.dumps(made.to_yaml_config())))
    assert again == made
    assert hash(again) == hash(made)
    assert again.to_yaml_config() == made.to_yaml_config()
    for one in made.alternatives()[0]:
        assert len(one.accelerators) <= 1
        assert Resources(**one.to_yaml_config()) == one


@given(tasks, st.dictionaries(variables, texts, max_size=3), st.dictionaries(variables, texts, max_size=3))
@settings(max_examples=200, deadline=None)
def test_task_round_trip(config: dict[str, Any], envs: dict[str, str], secrets: dict[str, str]) -> None:
    secrets = {name: value for name, value in secrets.items() if name not in envs and value != "<redacted>"}
    task = Task(**config, envs=envs, secrets=secrets)
    assert Task.from_yaml_str(task.to_yaml(redact=False)) == task
    assert Task.from_yaml_str(task.to_yaml(), secrets=secrets) == task
    assert Task.from_yaml_config(json.loads(json.dumps(task.to_yaml_config(redact=False)))) == task
    assert Task.from_yaml_config(task.to_yaml_config(), secrets=secrets) == task
    assert task.envs == envs
    assert task.reveal_secrets() == secrets


@pytest.mark.parametrize("name", ["every-key", "plain", "service"])
def test_files_round_trip(name: str) -> None:
    task = Task.from_yaml(DATA / f"{name}.yaml")
    again = Task.from_yaml_str(task.to_yaml(redact=False))
    assert again == task
    assert again.to_yaml() == task.to_yaml()


def test_pipeline_round_trip() -> None:
    pipeline = load_pipeline(DATA / "pipeline.yaml")
    assert parse_pipeline(pipeline.to_yaml(redact=False)) == pipeline


def test_scripts_are_written_as_blocks() -> None:
    assert "run: |\n  echo a\n  echo b\n" in Task(run="echo a\necho b\n").to_yaml()
