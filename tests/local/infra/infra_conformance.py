"""What every infra must do, as tests that its own test class inherits.

A subclass gives the fixture `infra`; everything else is the protocol of
`jupyter_sky.infra.base`, so that a flow which works with one infra works with each. Real nodes are made and
removed.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.errors import InfraError
from jupyter_sky.events import SilentReporter
from jupyter_sky.infra.base import ClusterHandle, NodeState, Offer, ProvisionRequest, Rejection
from jupyter_sky.link import portal
from jupyter_sky.link.link import Link
from jupyter_sky.spec import Resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_sky.infra.base import Infra

REPORT = SilentReporter()


def new_request(infra: Infra, num_nodes: int = 1, owner: str = "ada", **resources: Any) -> ProvisionRequest:
    """Ask for a new cluster of the first offer that fits."""
    asked = Resources(**resources)
    offer = next(answer for answer in infra.offers(asked, num_nodes) if isinstance(answer, Offer))
    return ProvisionRequest(
        cluster_id=os.urandom(16).hex(),
        cluster_name="conformance",
        num_nodes=num_nodes,
        offer=offer,
        resources=asked,
        owner=owner,
    )


def ask_agent(
    infra: Infra, handle: ClusterHandle, *calls: tuple[str, dict[str, Any]], rank: int | None = None
) -> Any:
    """Call methods of the head's agent (or through it another's) in turn; give the last answer."""

    async def ask() -> Any:
        link = await Link.connect(infra.carrier(handle), timeout=20)
        try:
            for method, params in calls:
                answer = await link.call(method, timeout=40, rank=rank, **params)
            return answer
        finally:
            await link.close()

    return portal.run(ask)


def states(infra: Infra, handle: ClusterHandle) -> list[NodeState]:
    """Give the state of each node as the infra sees it."""
    return [node.state for node in infra.query([handle])[handle.cluster_id]]


def peers(handle: ClusterHandle) -> list[dict[str, Any]]:
    """Give the nodes as `node.configure` wants them."""
    return [{"rank": node.rank, "ip": node.ip, "host": node.ip, "port": node.port} for node in handle.nodes]


class InfraConformance:
    """Inherit this, and give the fixture `infra`."""

    @pytest.fixture
    def infra(self) -> Infra:
        raise NotImplementedError

    @pytest.fixture
    def one(self, infra: Infra) -> Iterator[tuple[ProvisionRequest, ClusterHandle]]:
        """Give a cluster of one node, and take it down whatever happens."""
        request = new_request(infra)
        try:
            yield request, infra.provision(request, REPORT)
        finally:
            infra.terminate(infra.reserve(request), REPORT)

    def test_it_is_enabled_here(self, infra: Infra) -> None:
        check = infra.check()
        assert check.enabled, check.reason
        assert check.infra == infra.name

    def test_what_cannot_be_is_rejected_with_reason_and_hint(self, infra: Infra) -> None:
        (answer,) = infra.offers(Resources(cpus="100000+"), 1)
        assert isinstance(answer, Rejection)
        assert "100000" in answer.reason
        assert answer.hint

    def test_reserve_makes_nothing_and_its_handle_is_plain_json(self, infra: Infra) -> None:
        handle = infra.reserve(new_request(infra, 2))
        assert ClusterHandle.from_dict(json.loads(json.dumps(handle.to_dict()))) == handle
        assert states(infra, handle) == [NodeState.GONE] * 2
        infra.terminate(handle, REPORT)

    def test_a_cluster_answers_and_goes(
        self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]
    ) -> None:
        request, handle = one
        assert ClusterHandle.from_dict(json.loads(json.dumps(handle.to_dict()))) == handle
        assert states(infra, handle) == [NodeState.RUNNING]
        info = ask_agent(infra, handle, ("node.info", {}))
        assert info["cluster_id"] == request.cluster_id
        assert info["cpus"] == request.offer.cpus
        infra.terminate(handle, REPORT)
        assert states(infra, handle) == [NodeState.GONE]
        infra.terminate(handle, REPORT)

    def test_provision_again_keeps_what_is_there(
        self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]
    ) -> None:
        request, handle = one
        before = ask_agent(infra, handle, ("node.info", {}))
        again = infra.provision(request, REPORT)
        assert again == handle
        assert ask_agent(infra, again, ("node.info", {}))["agent"] == before["agent"]

    def test_the_reserved_handle_alone_removes_everything(
        self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]
    ) -> None:
        request, handle = one
        infra.terminate(infra.reserve(request), REPORT)
        assert states(infra, handle) == [NodeState.GONE]
        assert request.cluster_id not in {found.cluster_id for found in infra.discover(request.owner)}

    def test_discover_finds_the_clusters_of_one_owner(
        self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]
    ) -> None:
        _, handle = one
        assert handle in infra.discover("ada")
        assert handle.cluster_id not in {found.cluster_id for found in infra.discover("grace")}

    def test_stop_keeps_the_files_and_start_brings_the_cluster_back(
        self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]
    ) -> None:
        if "stop" not in infra.capabilities:
            pytest.skip("this infra cannot stop")
        _, handle = one
        before = run_job(infra, handle, "echo kept > ~/kept; echo $$")
        infra.stop(handle, REPORT)
        assert states(infra, handle) == [NodeState.STOPPED]
        infra.stop(handle, REPORT)
        started = infra.start(handle, REPORT)
        assert states(infra, started) == [NodeState.RUNNING]
        after = run_job(infra, started, "test $(cat ~/kept) = kept")
        assert after["status"] == "SUCCEEDED", after
        assert after["job_id"] == before["job_id"] + 1, "the queue's history was kept"

    def test_starting_or_stopping_what_is_gone_says_so(self, infra: Infra) -> None:
        handle = infra.reserve(new_request(infra))
        for action in (infra.start, infra.stop):
            with pytest.raises(InfraError, match="conformance"):
                action(handle, REPORT)

    def test_several_nodes_reach_each_other(self, infra: Infra) -> None:
        request = new_request(infra, 3)
        try:
            handle = infra.provision(request, REPORT)
            assert [node.rank for node in handle.nodes] == [0, 1, 2]
            assert states(infra, handle) == [NodeState.RUNNING] * 3
            ask_agent(infra, handle, ("node.configure", {"peers": peers(handle)}))
            info = ask_agent(infra, handle, ("node.info", {}), rank=2)
            assert info["rank"] == 2
            if "stop" in infra.capabilities:
                infra.stop(handle, REPORT)
                handle = infra.start(handle, REPORT)
                ask_agent(infra, handle, ("node.configure", {"peers": peers(handle)}))
                assert ask_agent(infra, handle, ("node.info", {}), rank=1)["rank"] == 1
        finally:
            infra.terminate(infra.reserve(request), REPORT)

    def test_ports_have_endpoints(self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]) -> None:
        if "ports" not in infra.capabilities:
            pytest.skip("this infra cannot open ports")
        _, handle = one
        infra.open_ports(handle, [8000, 8001])
        endpoints = infra.endpoints(handle, [8000, 8001])
        assert set(endpoints) == {8000, 8001}
        assert all(":" in endpoint for endpoint in endpoints.values())

    def test_one_question_for_many_clusters(
        self, infra: Infra, one: tuple[ProvisionRequest, ClusterHandle]
    ) -> None:
        _, handle = one
        ghost = infra.reserve(new_request(infra))
        answer = infra.query([handle, ghost])
        assert [node.state for node in answer[handle.cluster_id]] == [NodeState.RUNNING]
        assert [node.state for node in answer[ghost.cluster_id]] == [NodeState.GONE]


def run_job(infra: Infra, handle: ClusterHandle, script: str) -> dict[str, Any]:
    """Run a script as a job on the head and give the job at its end."""
    job_id = submit(infra, handle, script)
    job: dict[str, Any] = ask_agent(infra, handle, ("job.wait", {"job_id": job_id, "until": "ended"}))
    return job


def submit(infra: Infra, handle: ClusterHandle, script: str) -> int:
    """Queue a script as a job on the head."""
    spec = {
        "submission_id": os.urandom(8).hex(),
        "name": None,
        "user": "ada",
        "task_id": "conformance-{job_id}",
        "setup": None,
        "run": script,
        "envs": {},
        "num_nodes": 1,
        "cpus": 0.5,
        "gpus": 0.0,
        "gpu_name": None,
        "resources_str": "1x[CPU:0.5]",
        "ports": [],
    }
    return int(ask_agent(infra, handle, ("job.submit", {"spec": spec, "secrets": {}}))["job_id"])
