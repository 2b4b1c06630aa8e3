"""The pieces of the local infra: facts, offers, environment, addresses and GPUs, files."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jupyter_sky.agent.node import NODE_MARK
from jupyter_sky.errors import InfraError
from jupyter_sky.infra.base import Offer, Rejection
from jupyter_sky.infra.local import facts
from jupyter_sky.infra.local.allocations import Allocations, Holding
from jupyter_sky.infra.local.environment import node_environment
from jupyter_sky.infra.local.facts import Gpu, Machine, short_gpu_name
from jupyter_sky.infra.local.layout import ClusterFolder, read_json, remove_tree, write_json
from jupyter_sky.infra.local.offers import offer_or_rejection
from jupyter_sky.spec import Resources

T4S = tuple(Gpu(index, "T4", 15360) for index in range(4))
MACHINE = Machine(cpus=8, memory_mb=32 * 1024, gpus=T4S)
CPU_ONLY = Machine(cpus=2, memory_mb=8 * 1024)


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("Tesla T4", "T4"),
        ("NVIDIA T4", "T4"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA GeForce GTX 1080 Ti", "GTX1080Ti"),
        ("NVIDIA RTX A6000", "RTXA6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000-Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000"),
    ],
)
def test_a_gpu_has_the_name_people_ask_for(product: str, name: str) -> None:
    assert short_gpu_name(product) == name


def test_the_machine_is_what_it_is() -> None:
    found = facts.machine()
    assert 0 < found.cpus <= (os.cpu_count() or 1)
    assert 0 < found.memory_mb * 1024**2 <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ({"cpus": "16"}, "asks for 16 vCPUs a node, this machine has 8"),
        ({"cpus": "9+"}, "asks for 9 vCPUs a node, this machine has 8"),
        ({"memory": "64+"}, "asks for 64 GiB of memory a node, this machine has 32 GiB"),
        ({"memory": "8x"}, "asks for 64 GiB of memory a node, this machine has 32 GiB"),
        ({"accelerators": "A100:1"}, "A100:1 asked, this machine has 4 T4"),
        ({"accelerators": "T4:8"}, "T4:8 asked, this machine has 4 T4"),
        ({"accelerators": "T4:4"}, "T4:4 asked, 3 of the 4 T4 of this machine are free"),
        ({"use_spot": True}, "asks for spot nodes"),
        ({"instance_type": "p3.2xlarge"}, "'p3.2xlarge'"),
        ({"image_id": "docker:ubuntu:24.04"}, "'docker:ubuntu:24.04'"),
        ({"infra": "local/somewhere"}, "no regions"),
    ],
)
def test_what_does_not_fit_is_rejected_with_numbers_and_a_hint(
    resources: dict[str, object], reason: str
) -> None:
    answer = offer_or_rejection(Resources(**resources), 1, MACHINE, {0})
    assert isinstance(answer, Rejection)
    assert reason in answer.reason
    assert answer.hint


def test_gpus_are_counted_for_all_nodes() -> None:
    answer = offer_or_rejection(Resources(accelerators="T4:2"), 3, MACHINE, set())
    assert isinstance(answer, Rejection)
    assert answer.reason == "T4:2 asked on each of 3 nodes, this machine has 4 T4"
    assert isinstance(offer_or_rejection(Resources(accelerators="T4:2"), 2, MACHINE, set()), Offer)


def test_a_machine_without_gpus_says_so() -> None:
    answer = offer_or_rejection(Resources(accelerators="T4:1"), 1, CPU_ONLY, set())
    assert isinstance(answer, Rejection)
    assert answer.reason == "T4:1 asked, this machine has no GPU"


@pytest.mark.parametrize(
    ("resources", "cpus", "memory"),
    [
        ({}, 8, 32),
        ({"cpus": "2+", "memory": "4+"}, 8, 32),
        ({"cpus": 2, "memory": 4}, 2, 4),
        ({"cpus": 2, "memory": "3x"}, 2, 6),
        ({"accelerators": "t4:1", "instance_type": "local"}, 8, 32),
    ],
)
def test_an_exact_size_is_given_exactly_and_else_the_whole_machine(
    resources: dict[str, object], cpus: float, memory: float
) -> None:
    answer = offer_or_rejection(Resources(**resources), 1, MACHINE, set())
    assert isinstance(answer, Offer)
    assert (answer.cpus, answer.memory_gb, answer.price_hourly) == (cpus, memory, 0)


def test_an_agent_is_given_nothing_of_the_callers_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_SECRET_ACCESS_KEY": "s1",
        "HF_TOKEN": "s2",
        "https_proxy": "http://ada:s3@proxy:3128",
        "PIP_EXTRA_INDEX_URL": "https://index.example/simple https://ada:s4@index/simple",
        "HTTPS_PROXY": "http://ada:s5/with-a-slash@proxy:3128",
        "ALL_PROXY": "http://[no-address",
        "LC_TOKEN": "s6",
        "VIRTUAL_ENV": "/v",
        "PYTHONPATH": "/p",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    given = node_environment("id-0", tmp_path)
    assert not [
        value for value in given.values() if value in {"/v", "/p"} or any(f"s{n}" == value for n in range(9))
    ]
    assert {"HTTPS_PROXY", "LC_TOKEN"}.isdisjoint(given)
    assert {"https_proxy", "PIP_EXTRA_INDEX_URL", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"}.isdisjoint(given)
    assert given["http_proxy"] == "http://proxy:3128"
    assert given["LC_ALL"] == "C.UTF-8"
    assert given["HOME"] == str(tmp_path)
    assert given[NODE_MARK] == "id-0"
    assert given["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def take(allocations: Allocations, cluster_id: str, gpus_per_node: int = 0, num_nodes: int = 1) -> Holding:
    """Take as a cluster whose folder is there."""
    (allocations._clusters / cluster_id).mkdir(parents=True, exist_ok=True)
    return allocations.take(
        cluster_id,
        num_nodes=num_nodes,
        gpus_per_node=gpus_per_node,
        candidates=T4S,
        is_stopped=lambda other, _: other.startswith("stopped"),
    )


def test_a_cluster_keeps_its_addresses_and_no_other_has_them(tmp_path: Path) -> None:
    allocations = Allocations(tmp_path / "local")
    subnets = {f"c{number}": take(allocations, f"c{number}").subnet for number in range(40)}
    assert len(set(subnets.values())) == 40
    assert take(allocations, "c7").subnet == subnets["c7"]
    assert all(subnet.startswith("127.") and not subnet.startswith("127.0.") for subnet in subnets.values())
    assert Holding(subnet="127.3.4").address(0) == "127.3.4.1"
    assert Holding().address(5) == "127.0.0.1"


def test_gpus_belong_to_one_cluster_until_it_is_stopped_or_gone(tmp_path: Path) -> None:
    allocations = Allocations(tmp_path / "local")
    assert take(allocations, "a", gpus_per_node=1, num_nodes=2).gpus == [[0], [1]]
    assert take(allocations, "a", gpus_per_node=1, num_nodes=2).gpus == [[0], [1]]
    assert take(allocations, "stopped-b", gpus_per_node=2).gpus == [[2, 3]]
    assert take(allocations, "c", gpus_per_node=1).gpus == [[2]]
    with pytest.raises(InfraError, match="2 GPUs asked, 1 of 4 on this machine are free"):
        take(allocations, "d", gpus_per_node=2)
    allocations.release("a")
    assert take(allocations, "d", gpus_per_node=2).gpus == [[0, 1]]
    allocations.release("d", only_gpus=True)
    assert allocations.all()["d"].subnet
    assert take(allocations, "e", gpus_per_node=3).gpus == [[0, 1, 3]]


def test_a_cluster_that_is_just_being_started_again_keeps_its_gpus(tmp_path: Path) -> None:
    """It ended before it took them again, so nobody else may, although its agents do not serve yet."""
    allocations = Allocations(tmp_path / "local")
    ended_at = take(allocations, "a", gpus_per_node=4).taken_at + 0.001
    while time.time() <= ended_at:
        pass
    take(allocations, "a", gpus_per_node=4)
    (tmp_path / "local" / "b").mkdir()
    with pytest.raises(InfraError, match="1 GPU asked, 0 of 4"):
        allocations.take(
            "b",
            num_nodes=1,
            gpus_per_node=1,
            candidates=T4S,
            is_stopped=lambda _, taken_at: ended_at > taken_at,
        )


@pytest.mark.parametrize(
    ("given", "indices"), [("1", [1]), ("0,1", [0, 1]), ("", []), ("-1", []), ("GPU-1f", [0, 1])]
)
def test_only_the_gpus_this_process_was_given_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, indices: list[int]
) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0, Tesla T4, 15360\\n1, Tesla T4, 15360\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    facts._gpus.cache_clear()
    try:
        assert [gpu.index for gpu in facts.machine().gpus] == indices
    finally:
        facts._gpus.cache_clear()


def test_what_a_vanished_cluster_held_is_free(tmp_path: Path) -> None:
    allocations = Allocations(tmp_path / "local")
    take(allocations, "a", gpus_per_node=4)
    (tmp_path / "local" / "a").rmdir()
    assert take(allocations, "b", gpus_per_node=4).gpus == [[0, 1, 2, 3]]
    assert set(allocations.all()) == {"b"}


def test_launches_at_once_never_share_a_gpu_or_an_address(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from jupyter_sky.infra.local.allocations import Allocations
        from jupyter_sky.infra.local.facts import Gpu
        local, name = Path(sys.argv[1]), sys.argv[2]
        for number in range(10):
            (local / f"{name}{number}").mkdir(parents=True)
            Allocations(local).take(f"{name}{number}", num_nodes=1, gpus_per_node=1,
                candidates=[Gpu(i, "T4", 0) for i in range(40)], is_stopped=lambda *_: False)
    """)
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "local"), name])
        for name in ("a", "b", "c")
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    holdings = Allocations(tmp_path / "local").all().values()
    assert len({holding.subnet for holding in holdings}) == 30
    assert sorted(holding.gpus[0][0] for holding in holdings) == list(range(30))


@pytest.mark.parametrize("bad", ["../../etc", "", "a/b", ".", "A", "-a"])
def test_a_handle_cannot_point_outside(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InfraError, match="cannot be the id"):
        ClusterFolder(tmp_path, bad)


def test_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o600
    write_json(tmp_path / "x.json", {"a": 2})
    assert read_json(tmp_path / "x.json") == {"a": 2}
    (tmp_path / "x.json").write_text('{"a":')
    assert read_json(tmp_path / "x.json") is None
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_tree_whose_owner_took_his_own_rights_is_removed_and_what_links_point_to_is_not(
    tmp_path: Path,
) -> None:
    base = tmp_path / "base"
    outside = base / "outside"
    deep = base / "tree" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    outside.mkdir()
    (outside / "kept").touch()
    (base / "tree" / "a" / "link").symlink_to(outside)
    for folder in (deep, deep.parent, deep.parent.parent, base / "tree", outside):
        folder.chmod(0o500)
    as_nobody(base, "remove_tree(Path('tree')); remove_tree(Path('tree'))")
    assert sorted(path.name for path in base.iterdir()) == ["outside"]
    assert (outside / "kept").exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def as_nobody(folder: Path, action: str) -> None:
    """Do something in a folder as a user without root's rights, who owns all that is in it."""
    code = (
        "import os, shutil; from pathlib import Path\n"
        "from jupyter_sky.infra.local.layout import remove_tree\n"
    )
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        # The working folder is entered first: the folders above it may be root's alone.
        code += "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    subprocess.run([sys.executable, "-c", code + action], cwd=folder, check=True)


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
