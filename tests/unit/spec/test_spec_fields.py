"""Every key of a task is understood, in each of its forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import (
    GitWorkdir,
    InfraPath,
    Pipeline,
    Quantity,
    Resources,
    ServiceSpec,
    Storage,
    Task,
    Volume,
    load_pipeline,
    load_tasks,
)

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def full() -> Task:
    return Task.from_yaml(DATA / "every-key.yaml")


def test_plain_fields(full: Task) -> None:
    assert full.name == "every-key"
    assert full.num_nodes == 2
    assert full.workdir == GitWorkdir(url="https://example.org/repo.git", ref="main")
    assert full.setup == "pip install torch\n"
    assert full.run == "torchrun train.py --model $MODEL\n"
    assert full.envs == {"MODEL": "bert", "IMAGE": "ami-2", "PLAIN": "1.10", "EMPTY": ""}
    assert full.reveal_secrets() == {"HF_TOKEN": "hf_abcdef", "WANDB": "wb-123456"}
    assert full.event_callback
    assert full.inputs == {"s3://in": 10.0}
    assert full.outputs == {"s3://out": 2.5}
    assert full.source_file == str(DATA / "every-key.yaml")


def test_resources(full: Task) -> None:
    resources = full.resources
    assert resources.infra == InfraPath("aws", "us-east-1")
    assert (resources.cloud, resources.region, resources.zone) == ("aws", "us-east-1", None)
    assert resources.accelerators == {"A100": 8.0, "H100": 4.0}
    assert resources.cpus == Quantity(8.0, at_least=True)
    assert resources.memory == Quantity(4.0, per_cpu=True)
    assert resources.disk_size == 1024
    assert resources.ephemeral_storage == 100
    assert resources.ports == [8080, *range(9000, 9011)]
    assert resources.image_id == {"us-east-1": "ami-1", "us-west-2": "ami-2"}
    assert resources.labels == {"team": "ml", "version": "1.10"}
    assert resources.priority == 500
    assert resources.max_hourly_cost == 12.5
    assert resources.volumes is not None
    assert resources.volumes[0].size == 100
    assert resources.job_recovery is not None
    assert resources.job_recovery.strategy == "FAILOVER"
    assert resources.job_recovery.recover_on_exit_codes == [33, 34]
    stop = resources.autostop
    assert stop is not None
    assert (stop.idle_minutes, stop.down, stop.wait_for, stop.hook, stop.hook_timeout) == (
        10.0,
        True,
        "jobs",
        "echo bye",
        30.0,
    )


def test_service_and_mounts(full: Task) -> None:
    service = full.service
    assert service is not None
    assert service.readiness_probe.post_data == {"model": "bert", "n": [1, 2]}
    assert service.readiness_probe.headers == {"Authorization": "Bearer hf_abcdef"}
    assert service.policy.target_qps_per_replica == {"A100": 2.5, "H100": 5.0}
    assert service.ports == 8080
    mount = full.file_mounts["/out"]
    assert isinstance(mount, Storage)
    assert (mount.store, mount.mode, mount.persistent, mount.source) == (
        "S3",
        "MOUNT_CACHED",
        False,
        ["./a", "./b"],
    )
    volume = full.volumes["/mnt/mine"]
    assert isinstance(volume, Volume)
    assert volume.size == 100
    assert volume.config is not None
    assert volume.config.access_mode == "ReadWriteMany"
    assert full.volumes["/mnt/shared"] == "shared"
    assert full.config is not None
    assert full.config.kubernetes is not None
    assert full.config.kubernetes.pod_config == {
        "spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}
    }
    assert full.pool is not None
    assert full.pool.workers == 3


@pytest.mark.parametrize(
    ("written", "choices"),
    [
        ("T4", {"T4": 1.0}),
        ("t4", {"T4": 1.0}),
        ("a100-80gb:8", {"A100-80GB": 8.0}),
        ("T4:0.5", {"T4": 0.5}),
        ("MyCard:2", {"MyCard": 2.0}),
        ("tpu-V5e-8", {"tpu-v5e-8": 1.0}),
        ({"A100": 8, "H100": 8}, {"A100": 8.0, "H100": 8.0}),
        ({"A100:8": None, "H100": None}, {"A100": 8.0, "H100": 1.0}),
        (["A100:8", "H100:4"], {"A100": 8.0, "H100": 4.0}),
        ({"A100:8", "H100:4"}, {"A100": 8.0, "H100": 4.0}),
    ],
)
def test_accelerator_forms(written: object, choices: dict[str, float]) -> None:
    assert Resources(accelerators=written).accelerators == choices


@pytest.mark.parametrize(
    "written",
    [
        "",
        ":8",
        "A100:",
        "A100:x",
        "A100:0",
        "A100:-1",
        "A100:1.5",
        "A100:nan",
        "A100:1e9",
        "A100 8",
        "32GB+",
        8,
        [],
        {},
        [["A100"]],
        True,
    ],
)
def test_bad_accelerators(written: object) -> None:
    with pytest.raises(SpecError, match="accelerators"):
        Resources(accelerators=written)


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("cpus", 4, Quantity(4.0)),
        ("cpus", "4", Quantity(4.0)),
        ("cpus", "0.5+", Quantity(0.5, at_least=True)),
        ("memory", "16+", Quantity(16.0, at_least=True)),
        ("memory", "2x", Quantity(2.0, per_cpu=True)),
        ("memory", "16GB", Quantity(16.0)),
        ("memory", "512MB+", Quantity(0.5, at_least=True)),
        ("disk_size", "256", 256),
        ("disk_size", "2TB", 2048),
        ("ports", 8080, [8080]),
        ("ports", "8080", [8080]),
        ("ports", "8000-8002", [8000, 8001, 8002]),
        ("ports", ["8080", 8080, "22"], [8080, 22]),
        ("infra", "aws", InfraPath("aws")),
        ("infra", "AWS/us-east-1/us-east-1a", InfraPath("aws", "us-east-1", "us-east-1a")),
        ("infra", "aws/*/us-east-1a", InfraPath("aws", None, "us-east-1a")),
        ("infra", "k8s/my-context", InfraPath("kubernetes", "my-context")),
        (
            "infra",
            "kubernetes/arn:aws:eks:x:1:cluster/name",
            InfraPath("kubernetes", "arn:aws:eks:x:1:cluster/name"),
        ),
        ("infra", "local", InfraPath("local")),
        ("use_spot", "true", True),
    ],
)
def test_forms_of_a_field(field: str, written: object, read: object) -> None:
    assert getattr(Resources(**{field: written}), field) == read


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("cpus", "4x"),
        ("cpus", "0"),
        ("cpus", -1),
        ("cpus", "many"),
        ("cpus", True),
        ("cpus", float("nan")),
        ("memory", "4q"),
        ("memory", []),
        ("disk_size", "10+"),
        ("disk_size", 1.5),
        ("disk_size", 10**400),
        ("ports", 0),
        ("ports", 65536),
        ("ports", "9-8"),
        ("ports", "http"),
        ("ports", {}),
        ("ports", [[1]]),
        ("infra", ""),
        ("infra", "a/b/c/d"),
        ("infra", "aws//z"),
        ("infra", "a b"),
        ("infra", 3),
        ("disk_tier", "hihg"),
        ("use_spot", "maybe"),
        ("use_spot", 3),
        ("image_id", "a b"),
        ("image_id", {}),
        ("autostop", "soon"),
        ("autostop", -5),
        ("autostop", []),
        ("autostop", {"idle_minutes": -1}),
        ("job_recovery", "never"),
        ("priority", 1001),
        ("labels", {"a": [1]}),
        ("labels", 3),
        ("volumes", {}),
        ("any_of", []),
        ("any_of", {}),
        ("any_of", [3]),
        ("any_of", [{"ordered": [{}]}]),
        ("max_hourly_cost", -1),
        ("region", ""),
        ("cloud", "a b"),
        ("zone", 3),
    ],
)
def test_bad_values_name_their_field(field: str, written: object) -> None:
    with pytest.raises(SpecError, match=field):
        Resources(**{field: written})


@pytest.mark.parametrize(
    ("written", "minutes"),
    [
        (True, 5.0),
        (10, 10.0),
        ("10m", 10.0),
        ("2h", 120.0),
        ("90s", 1.5),
        ("15", 15.0),
        (0, 0.0),
        ({"down": True}, 5.0),
    ],
)
def test_autostop_forms(written: object, minutes: float) -> None:
    autostop = Resources(autostop=written).autostop
    assert autostop is not None
    assert autostop.idle_minutes == minutes
    assert autostop.wait_for == "jobs_and_ssh"


@pytest.mark.parametrize("written", [False, -1, "-1", "false", None])
def test_autostop_off(written: object) -> None:
    assert Resources(autostop=written).autostop is None


def test_older_places_become_infra() -> None:
    assert Resources(cloud="AWS", region="us-east-1", zone="a").infra == InfraPath("aws", "us-east-1", "a")
    assert Resources(infra="aws", region="us-east-1").infra == InfraPath("aws", "us-east-1")
    assert Resources(infra="aws/us-east-1", cloud="aws").infra == InfraPath("aws", "us-east-1")
    with pytest.raises(SpecError, match="contradicts cloud: 'gcp'"):
        Resources(infra="aws", cloud="gcp")


def test_alternatives_are_expanded(full: Task) -> None:
    alternatives, ordered = full.resources_alternatives()
    assert not ordered
    assert [(str(one.infra), one.accelerators, one.use_spot) for one in alternatives] == [
        ("gcp", {"A100": 8.0}, False),
        ("gcp", {"H100": 4.0}, False),
        ("aws/us-west-2", {"H100": 8.0}, True),
    ]
    assert all(one.any_of is None for one in alternatives)
    assert Resources(accelerators=["A100:8", "H100:8"]).alternatives()[1]
    assert Resources(ordered=[{"cpus": 2}, {"cpus": 4}]).alternatives()[1]
    assert Resources().alternatives() == ([Resources()], False)
    off = Resources(autostop=10, any_of=[{"autostop": False}, {"cpus": 2}]).alternatives()[0]
    assert [one.autostop is None for one in off] == [True, False]


def test_any_of_and_ordered_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="ordered"):
        Resources(any_of=[{"cpus": 1}], ordered=[{"cpus": 2}])


@pytest.mark.parametrize(
    ("request_", "cluster", "reason"),
    [
        ({"accelerators": "T4:1"}, {"accelerators": "T4:4"}, None),
        ({"accelerators": "mycard"}, {"accelerators": "MyCard"}, None),
        ({}, {"accelerators": "T4:4"}, None),
        ({"accelerators": "T4:2"}, {"accelerators": "T4:1"}, "T4:2"),
        ({"accelerators": "T4"}, {}, "no accelerator"),
        ({"infra": "aws"}, {"infra": "aws/us-east-1"}, None),
        ({"infra": "gcp"}, {"infra": "aws/us-east-1"}, "gcp"),
        ({"cpus": "4+"}, {"cpus": 2}, "CPUs"),
        ({"cpus": 2}, {"cpus": 4}, None),
        ({"memory": 64}, {"memory": 32}, "memory"),
        ({"memory": "4x"}, {"memory": 8, "cpus": 4}, "memory"),
        ({"memory": "2x"}, {"memory": 8, "cpus": 4}, None),
        ({"memory": "4x"}, {"memory": 8}, None),
        ({"memory": 8}, {"memory": "4+"}, None),
        ({"use_spot": True}, {"use_spot": False}, "spot"),
        ({"instance_type": "a"}, {"instance_type": "b"}, "asks for a"),
    ],
)
def test_fits_within(request_: dict[str, object], cluster: dict[str, object], reason: str | None) -> None:
    found = Resources(**request_).fits_within(Resources(**cluster))
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_describe() -> None:
    assert Resources(accelerators="T4").describe(2) == "2x[T4:1]"
    assert Resources(cpus="2+").describe() == "1x[CPU:2+]"
    assert Resources(accelerators="A100:8", use_spot=True).describe() == "1x[A100:8][Spot]"
    assert Resources().describe() == "1x[CPU]"


def test_pipeline() -> None:
    pipeline = load_pipeline(DATA / "pipeline.yaml")
    assert pipeline.name == "whole"
    assert [task.name for task in pipeline.tasks] == ["prepare", "train"]
    assert load_tasks(DATA / "pipeline.yaml") == list(pipeline.tasks)
    with pytest.raises(SpecError, match="pipeline of 3 documents") as caught:
        Task.from_yaml(DATA / "pipeline.yaml")
    assert caught.value.line == 3
    assert Pipeline(pipeline.tasks, "whole").to_yaml().startswith("name: whole\n---\nname: prepare\n")


def test_task_from_python() -> None:
    task = Task("job", run=["echo a", "echo b"], workdir=Path("src"), num_nodes=2, envs={"N": 3})
    assert task.run == "echo a\necho b"
    assert task.workdir == "src"
    assert task.envs == {"N": "3"}
    assert task.set_resources(Resources(accelerators="T4")).update_envs({"M": "x"}) is task
    assert task.resources.accelerators == {"T4": 1.0}
    assert task.envs == {"N": "3", "M": "x"}
    task.update_file_mounts({"/a": Storage(name="b")}).set_service({"readiness_probe": "/", "replicas": 2})
    assert task.file_mounts == {"/a": Storage(name="b")}
    assert task.service == ServiceSpec(readiness_probe="/", replicas=2)
    assert task.service is not None
    assert task.service.policy.min_replicas == 2


def test_resources_lists_and_sets_in_python() -> None:
    one, other = Resources(cpus=2), Resources(cpus=4)
    assert Task(run="x", resources=[one, other]).resources_alternatives() == ([one, other], True)
    alternatives, ordered = Task(run="x", resources={one, other}).resources_alternatives()
    assert not ordered
    assert set(alternatives) == {one, other}


def test_a_change_that_is_refused_changes_nothing() -> None:
    task = Task("job", run="x")
    with pytest.raises(SpecError):
        task.set_resources({"cpus": "many"})
    assert task == Task("job", run="x")


@pytest.mark.parametrize(
    "bad",
    [
        {"run": object()},
        {"run": 1.5},
        {"num_nodes": 0},
        {"num_nodes": True},
        {"name": "A_b"},
        {"inputs": {"a": object()}},
        {"nope": 1},
    ],
)
def test_python_errors_are_spec_errors(bad: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        Task(**bad)  # type: ignore[arg-type]


def test_what_contains_itself_is_refused() -> None:
    loop: dict[str, object] = {}
    loop["kubernetes"] = {"pod_config": loop}
    with pytest.raises(SpecError, match="nested deeper"):
        Task(run="x", config=loop)
