"""The options of a command line change a task, and an error names the option."""

from __future__ import annotations

import pytest

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import InfraPath, Quantity, Task

TASK = Task.from_yaml_str(
    "name: t\nresources: {infra: aws/us-east-1, accelerators: {A100: 8, H100: 8}, cpus: 4+}\nrun: x"
)


def test_every_option() -> None:
    changed = TASK.with_overrides(
        name="other",
        num_nodes="3",
        workdir="/w",
        resources={
            "infra": "gcp/us-central1",
            "gpus": "T4:2",
            "cpus": "8",
            "memory": "32+",
            "instance_type": "n1-standard-8",
            "use_spot": "true",
            "image_id": "docker:x",
            "disk_size": "512",
            "disk_tier": "high",
            "network_tier": "best",
            "ports": ["8080", "9000-9001"],
            "idle_minutes_to_autostop": "10",
            "max_hourly_cost": "3.5",
            "labels": {"a": "b"},
            "priority": "7",
            "job_recovery": "failover",
            "local_disk": None,
        },
        env={"A": "1"},
        secrets={"B": "2"},
    )
    resources = changed.resources
    assert (changed.name, changed.num_nodes, changed.workdir) == ("other", 3, "/w")
    assert resources.infra == InfraPath("gcp", "us-central1")
    assert resources.accelerators == {"T4": 2.0}
    assert (resources.cpus, resources.memory) == (Quantity(8.0), Quantity(32.0, at_least=True))
    assert resources.use_spot is True
    assert resources.disk_size == 512
    assert resources.ports == [8080, 9000, 9001]
    assert resources.autostop is not None
    assert resources.autostop.idle_minutes == 10
    assert changed.envs == {"A": "1"}
    assert changed.reveal_secrets() == {"B": "2"}
    assert TASK.name == "t", "the task at hand is unchanged"
    assert TASK.resources.cpus == Quantity(4.0, at_least=True)


@pytest.mark.parametrize(
    ("given", "infra"),
    [
        ({"region": "us-west-2"}, "aws/us-west-2"),
        ({"zone": "us-east-1a"}, "aws/us-east-1/us-east-1a"),
        ({"cloud": "gcp"}, "gcp"),
        ({"cloud": "AWS"}, "aws/us-east-1"),
        ({"cloud": "gcp", "region": "r", "zone": "z"}, "gcp/r/z"),
        ({"infra": "k8s"}, "kubernetes"),
        ({"infra": "gcp", "region": "r"}, "gcp/r"),
        ({"region": "none"}, "aws"),
        ({"infra": "none"}, "None"),
    ],
)
def test_places(given: dict[str, str], infra: str) -> None:
    assert str(TASK.with_overrides(resources=given).resources.infra) == infra


def test_none_takes_a_field_away() -> None:
    resources = TASK.with_overrides(resources={"gpus": "none", "cpus": "None", "disk_tier": "none"}).resources
    assert resources.accelerators == {}
    assert resources.cpus is None
    assert resources.disk_tier == "none"


def test_options_hold_for_every_alternative() -> None:
    task = Task.from_yaml_str(
        "resources:\n  any_of:\n    - {infra: aws, use_spot: true}\n    - {infra: gcp, use_spot: true}\n"
        "    - {use_spot: false}"
    )
    places = task.with_overrides(resources={"infra": "local"}).resources_alternatives()[0]
    assert [(str(one.infra), one.use_spot) for one in places] == [("local", True), ("local", False)]
    spot = task.with_overrides(resources={"use_spot": True}).resources_alternatives()[0]
    assert [(str(one.infra), one.use_spot) for one in spot] == [("aws", True), ("gcp", True), ("None", True)]
    both = task.with_overrides(resources={"use_spot": True, "infra": "local"}).resources
    assert both.any_of is None
    assert str(both.infra) == "local"


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"gpus": "A100:x"}, "--gpus"),
        ({"accelerators": ""}, "--gpus"),
        ({"cpus": "many"}, "--cpus"),
        ({"memory": "4q"}, "--memory"),
        ({"disk_size": "big"}, "--disk-size"),
        ({"ports": ["80", "x"]}, "--ports"),
        ({"infra": "a b"}, "--infra"),
        ({"cloud": "!"}, "--cloud"),
        ({"region": ""}, "--region"),
        ({"zone": "a b"}, "--zone"),
        ({"infra": "aws", "cloud": "gcp"}, "--cloud"),
        ({"infra": "aws/r", "region": "q"}, "--region"),
        ({"use_spot": "maybe"}, "--use-spot"),
        ({"autostop": "soon"}, "--idle-minutes-to-autostop"),
        ({"image_id": "a b"}, "--image-id"),
        ({"disk_tier": "x"}, "--disk-tier"),
        ({"gpu": "T4"}, "gpu"),
        ({"any_of": "x"}, "any_of"),
    ],
)
def test_errors_name_the_option(given: dict[str, object], option: str) -> None:
    with pytest.raises(SpecError) as caught:
        TASK.with_overrides(resources=given)
    assert option in str(caught.value)
    assert caught.value.file is None


def test_other_errors_name_the_option() -> None:
    with pytest.raises(SpecError, match="--num-nodes"):
        TASK.with_overrides(num_nodes="none")
    with pytest.raises(SpecError, match=r"--name.*DNS-1123"):
        TASK.with_overrides(name="A_b")
    with pytest.raises(SpecError, match="--workdir"):
        TASK.with_overrides(workdir="")
    with pytest.raises(SpecError, match="environment variable"):
        TASK.with_overrides(env={"9": "x"})
