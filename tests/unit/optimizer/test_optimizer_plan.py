"""The optimizer asks every place, orders what fits and says why the rest does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.errors import InfraError, NoOfferError
from jupyter_sky.infra.base import Infra, InfraCheck, Offer, Rejection
from jupyter_sky.infra.local import LocalInfra
from jupyter_sky.optimizer import PLAN_COLUMNS, optimize, plan_rows
from jupyter_sky.spec import Task

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_sky.spec import Resources

T4 = Offer("shop", "t4.large", 4, 16, {"T4": 1}, price_hourly=0.5, region="north", zone="a")
A100 = Offer("shop", "a100.huge", 12, 85, {"A100": 1}, price_hourly=3.0, region="north")
CPU_SMALL = Offer("shop", "small", 2, 4, price_hourly=0.1)
CPU_BIG = Offer("shop", "big", 8, 32, price_hourly=0.1)


class Shop(Infra):
    """A place with a price list: the smallest third-party infra there can be."""

    name = "shop"
    capabilities = frozenset({"multi_node"})

    def __init__(self, *stock: Offer, name: str = "shop") -> None:
        self.stock = stock
        self.name = name

    def check(self) -> InfraCheck:
        return InfraCheck(self.name, enabled=True)

    def offers(self, resources: Resources, num_nodes: int) -> list[Offer | Rejection]:
        fitting = [offer for offer in self.stock if offer.accelerators == resources.accelerators]
        return list(fitting) or [
            Rejection(self.name, f"has no {resources.describe(num_nodes)}", "Ask elsewhere.")
        ]

    def _never(self, *_: Any) -> Any:
        raise AssertionError("choosing makes nothing")

    reserve = provision = query = terminate = carrier = _never


def task(resources: dict[str, Any] | None = None, num_nodes: int | None = None, name: str = "train") -> Task:
    config: dict[str, Any] = {"name": name, "run": "true"}
    if resources is not None:
        config["resources"] = resources
    if num_nodes is not None:
        config["num_nodes"] = num_nodes
    return Task.from_yaml_config(config)


def instances(plan: Any) -> list[str]:
    return [candidate.offer.instance_type for candidate in plan.candidates]


def test_the_cheapest_is_chosen_and_of_equals_the_smaller() -> None:
    dear = Offer("shop", "dear", 1, 1, price_hourly=9)
    plan = optimize(task(), infras=[Shop(dear, CPU_BIG, CPU_SMALL)])
    assert instances(plan) == ["small", "big", "dear"]
    assert plan.chosen.offer is CPU_SMALL
    assert plan.hourly_cost == pytest.approx(0.1)


def test_equal_offers_come_in_the_order_of_their_names() -> None:
    plan = optimize(
        task(), infras=[Shop(CPU_SMALL, name="b"), Shop(Offer("a", "small", 2, 4, price_hourly=0.1))]
    )
    assert [candidate.offer.infra for candidate in plan.candidates] == ["a", "shop"]


def test_any_of_takes_the_cheapest_and_ordered_the_first() -> None:
    shop = Shop(A100, T4)
    both = [{"accelerators": "A100"}, {"accelerators": "T4"}]
    assert instances(optimize(task({"any_of": both}), infras=[shop])) == ["t4.large", "a100.huge"]
    assert instances(optimize(task({"ordered": both}), infras=[shop])) == ["a100.huge", "t4.large"]
    assert instances(optimize(task({"accelerators": ["A100:1", "T4:1"]}), infras=[shop])) == [
        "a100.huge",
        "t4.large",
    ]
    assert instances(optimize(task({"accelerators": {"A100": 1, "T4": 1}}), infras=[shop]))[0] == "t4.large"


def test_each_candidate_says_which_alternative_it_meets() -> None:
    plan = optimize(
        task({"any_of": [{"accelerators": "A100"}, {"accelerators": "T4"}]}), infras=[Shop(A100, T4)]
    )
    assert [list(candidate.resources.accelerators) for candidate in plan.candidates] == [["T4"], ["A100"]]


def test_what_costs_more_than_max_hourly_cost_is_rejected_with_numbers() -> None:
    with pytest.raises(NoOfferError, match=r"\$3\.00 an hour and node, max_hourly_cost is \$1\.50"):
        optimize(task({"accelerators": "A100", "max_hourly_cost": 1.5}), infras=[Shop(A100)])


def test_the_infra_of_the_task_is_the_only_one_asked() -> None:
    other = Shop(Offer("other", "cheap", 1, 1), name="other")
    plan = optimize(task({"infra": "shop"}), infras=[other, Shop(CPU_BIG)])
    assert instances(plan) == ["big"]


def test_an_infra_that_cannot_be_used_is_named_with_the_command_that_mends_it() -> None:
    with pytest.raises(NoOfferError, match="aws: cannot be used from here") as caught:
        optimize(task({"infra": "aws/us-east-1"}), infras=[Shop(CPU_BIG)])
    assert "jupyter sky check aws" in (caught.value.hint or "")


def test_a_place_that_cannot_be_asked_does_not_hide_the_others() -> None:
    class Sick(Shop):
        def offers(self, resources: Resources, num_nodes: int) -> list[Offer | Rejection]:
            raise InfraError("its API answers 503", hint="Try again later.")

    plan = optimize(task(), infras=[Sick(name="sick"), Shop(CPU_SMALL)])
    assert instances(plan) == ["small"]
    assert plan.rejections == [
        Rejection("sick", "could not be asked: its API answers 503", "Try again later.")
    ]


def test_a_place_without_multi_node_gives_one_node_only() -> None:
    shop = Shop(CPU_SMALL)
    shop.capabilities = frozenset()
    assert optimize(task(), infras=[shop]).chosen.offer is CPU_SMALL
    with pytest.raises(NoOfferError, match="2 nodes asked"):
        optimize(task(num_nodes=2), infras=[shop])


def test_nowhere_lists_every_place_with_its_reason(sky_home: Path) -> None:
    with pytest.raises(NoOfferError) as caught:
        optimize(task({"accelerators": "B200:8"}, num_nodes=2), infras=[LocalInfra(), Shop(T4)])
    assert "'train' asks for (2x[B200:8])" in str(caught.value)
    assert "\n  local: B200:8 asked on each of 2 nodes, this machine has " in str(caught.value)
    assert "\n  shop: has no 2x[B200:8]" in str(caught.value)
    assert "Ask elsewhere." in (caught.value.hint or "")


def test_no_infra_at_all_says_so() -> None:
    with pytest.raises(NoOfferError, match="No infra can be used from here") as caught:
        optimize(task(), infras=[])
    assert "jupyter sky check" in (caught.value.hint or "")


def test_the_table_has_the_columns_people_know() -> None:
    spot = Offer("shop", "t4.large", 4, 16, {"T4": 1}, price_hourly=0.2, use_spot=True, region="north")
    rows = plan_rows(optimize(task({"accelerators": "T4"}, num_nodes=2), infras=[Shop(T4, spot)]))
    assert all(tuple(row.cells()) == PLAN_COLUMNS for row in rows)
    assert [list(row.cells().values()) for row in rows] == [
        ["shop/north", "t4.large[Spot]", "4", "16", "T4:1", "0.40", "✔"],
        ["shop/north/a", "t4.large", "4", "16", "T4:1", "1.00", ""],
    ]


def test_this_machine_costs_nothing(sky_home: Path) -> None:
    (row,) = plan_rows(optimize(task({"infra": "local"}), infras=[LocalInfra()]))
    assert (row.infra, row.instance_type, row.accelerators, row.cost_hourly) == ("local", "local", {}, 0.0)
    assert row.chosen
    assert row.cells()["GPUS"] == "-"
    assert row.cells()["COST ($)"] == "0.00"
