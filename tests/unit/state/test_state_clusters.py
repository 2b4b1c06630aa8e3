"""Clusters and their cost."""

from __future__ import annotations

import dataclasses
import os
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.errors import ClusterNotFoundError, StateError
from jupyter_sky.state import ClusterRecord, ClusterStatus, State

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0


def cluster(name: str, **fields: Any) -> ClusterRecord:
    return ClusterRecord(**{"name": name, "id": os.urandom(16).hex(), "infra": "local", **fields})


def test_what_is_stored_comes_back(state: State) -> None:
    record = cluster(
        "dev",
        status=ClusterStatus.UP,
        resources={"request": {"cpus": "2+"}, "offer": {"price": 0.5}, "describe": "1x[CPU:2+]"},
        num_nodes=3,
        handle={"nodes": [{"rank": 0, "ip": "127.1.2.3"}], "ünïcode": "\udc80"},
        price_hourly=1.25,
        launched_at=123.5,
        autostop={"idle_minutes": 10, "down": True},
        owner="ada",
        last_use="jupyter sky launch x.yaml",
        note="a word",
    )
    state.clusters.add(record)
    assert state.clusters.get("dev") == record
    assert state.clusters.list() == [record]
    assert isinstance(state.clusters.list()[0].status, ClusterStatus)
    assert state.clusters.get("other") is None


def test_list_is_by_name_and_may_be_of_some(state: State) -> None:
    for name in ("b", "c", "a"):
        state.clusters.add(cluster(name))
    assert [one.name for one in state.clusters.list()] == ["a", "b", "c"]
    assert [one.name for one in state.clusters.list(["c", "a", "unknown"])] == ["a", "c"]
    assert state.clusters.list([]) == []


def test_update(state: State) -> None:
    record = cluster("dev", updated_at=1.0, autostop={"idle_minutes": 1})
    state.clusters.add(record)
    changed = state.clusters.update("dev", status=ClusterStatus.STOPPED, autostop=None)
    assert changed.status is ClusterStatus.STOPPED
    assert changed.autostop is None
    assert changed.updated_at > 1.0
    assert changed == state.clusters.get("dev")
    with pytest.raises(ClusterNotFoundError, match="'other'"):
        state.clusters.update("other", status=ClusterStatus.UP)


def test_an_update_that_means_another_cluster_of_the_name_changes_nothing(state: State) -> None:
    state.clusters.add(cluster("dev", note="new"))
    with pytest.raises(ClusterNotFoundError):
        state.clusters.update("dev", cluster_id=os.urandom(16).hex(), note="old")
    assert state.clusters.list()[0].note == "new"
    mine = state.clusters.list()[0].id
    assert state.clusters.update("dev", cluster_id=mine, note="mine").note == "mine"


def test_one_name_one_cluster(state: State) -> None:
    state.clusters.add(cluster("dev"))
    with pytest.raises(StateError, match="already holds 'dev'"):
        state.clusters.add(cluster("dev"))


def test_a_removed_name_is_free_again(state: State) -> None:
    first = cluster("dev")
    state.clusters.add(first)
    state.clusters.remove("dev")
    state.clusters.remove("dev")
    assert state.clusters.get("dev") is None
    second = cluster("dev")
    state.clusters.add(second)
    assert state.clusters.list() == [second]
    assert {row.id for row in state.clusters.cost_rows()} == {first.id, second.id}


def test_cost_is_time_by_nodes_by_price(state: State) -> None:
    record = cluster(
        "dev", num_nodes=2, price_hourly=3.0, resources={"describe": "1x[T4:1]"}, launched_at=0.0
    )
    state.clusters.add(record)
    state.clusters.open_interval(record.id, 0.0)
    state.clusters.open_interval(record.id, 10.0)  # is open already
    state.clusters.close_interval(record.id, HOUR)
    state.clusters.close_interval(record.id, 2 * HOUR)  # is closed already
    state.clusters.open_interval(record.id, 5 * HOUR)
    state.clusters.remove("dev", ended_at=7 * HOUR)
    (row,) = state.clusters.cost_rows()
    assert (row.name, row.status, row.resources, row.launched_at) == ("dev", None, "1x[T4:1]", 0.0)
    assert row.duration_s == pytest.approx(3 * HOUR)
    assert row.cost == pytest.approx(3 * 2 * 3.0)
    state.clusters.open_interval(record.id, 9 * HOUR)  # a removed cluster costs nothing
    assert state.clusters.cost_rows() == [row]


def test_cost_of_a_running_cluster_grows_and_its_past_keeps_its_price(state: State) -> None:
    record = cluster("dev", price_hourly=2.0)
    state.clusters.add(record)
    now = time.time()
    state.clusters.open_interval(record.id, now - 2 * HOUR)
    state.clusters.close_interval(record.id, now - HOUR)
    state.clusters.update("dev", price_hourly=10.0, num_nodes=2)
    state.clusters.open_interval(record.id, now - HOUR)
    (row,) = state.clusters.cost_rows()
    assert row.status is ClusterStatus.INIT
    assert row.duration_s == pytest.approx(2 * HOUR, abs=5)
    assert row.cost == pytest.approx(2.0 + 20.0, abs=0.1)


def test_a_clock_set_back_gives_no_money_back(state: State) -> None:
    record = cluster("dev", price_hourly=2.0)
    state.clusters.add(record)
    state.clusters.open_interval(record.id, 1000.0)
    state.clusters.close_interval(record.id, 500.0)
    (row,) = state.clusters.cost_rows()
    assert (row.duration_s, row.cost) == (0.0, 0.0)


def test_a_cluster_that_never_ran_costs_nothing(state: State) -> None:
    state.clusters.add(cluster("dev"))
    (row,) = state.clusters.cost_rows()
    assert (row.duration_s, row.cost, row.launched_at) == (0.0, 0.0, None)


def test_nothing_but_plain_json_is_stored(state: State) -> None:
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(TypeError, match=r"ClusterRecord\.handle must be plain JSON") as caught:
        state.clusters.add(cluster("dev", handle={"token": Secret()}))
    assert "hunter2" not in str(caught.value)
    state.clusters.add(cluster("dev"))
    with pytest.raises(TypeError, match="plain JSON"):
        state.clusters.update("dev", handle={"token": Secret()})
    with pytest.raises(TypeError, match="no field colour"):
        state.clusters.update("dev", colour="red")


def test_records_do_not_change(state: State) -> None:
    record = cluster("dev")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.name = "x"  # type: ignore[misc]  # that it is refused is the point


def test_every_file_is_private(state: State, home: Path) -> None:
    state.clusters.add(cluster("dev"))
    files = list(home.iterdir())
    assert {file.name for file in files} >= {"state.db", "state.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
