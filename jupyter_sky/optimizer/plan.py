"""From the alternatives of a task and the infras at hand to an ordered list of offers.

Every alternative is put to every infra that its path allows. What fits is a candidate; what does not leaves a
rejection with the place's own reason, so that a task that fits nowhere is told why, place by place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_sky.errors import NoOfferError, SkyError
from jupyter_sky.infra.base import Offer, Rejection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.infra.base import Infra
    from jupyter_sky.spec import Resources, Task


@dataclass(frozen=True)
class Candidate:
    """One way to run a task: the alternative of its resources that is met, and the offer that meets it."""

    resources: Resources
    offer: Offer


@dataclass(frozen=True)
class Plan:
    """Where a task could run, best first: cheapest, or in the person's own order where the task gives one."""

    task_name: str | None
    num_nodes: int
    candidates: list[Candidate]
    rejections: list[Rejection]

    @property
    def chosen(self) -> Candidate:
        """The candidate that is tried first."""
        return self.candidates[0]

    @property
    def hourly_cost(self) -> float:
        """What the chosen cluster costs, all nodes together, in US dollars per hour."""
        return self.chosen.offer.price_hourly * self.num_nodes


def optimize(task: Task, *, infras: Sequence[Infra]) -> Plan:
    """Find every way to run a task, best first.

    Parameters
    ----------
    task
        What to run; all alternatives of its resources are considered.
    infras
        The places that can be used.

    Raises
    ------
    NoOfferError
        Nothing fits; the message lists each place with its reason.
    """
    num_nodes = task.num_nodes or 1
    alternatives, ordered = task.resources_alternatives()
    candidates: list[Candidate] = []
    rejections: list[Rejection] = []
    for resources in alternatives:
        found = []
        for answer in _ask_all(resources, num_nodes, infras):
            if isinstance(answer, Rejection):
                rejections.append(answer)
            else:
                found.append(Candidate(resources, answer))
        if ordered:
            found.sort(key=_worth)
        candidates += found
    if not ordered:
        candidates.sort(key=_worth)
    rejections = list(dict.fromkeys(rejections))
    if not candidates:
        raise _no_offer(task, alternatives, num_nodes, rejections, infras)
    return Plan(task.name, num_nodes, candidates, rejections)


def _worth(candidate: Candidate) -> tuple[float, float, float, str, str, str, str]:
    """Cheapest first; of equals the smaller one, then by name, so that the order is always the same."""
    offer = candidate.offer
    return (
        offer.price_hourly,
        offer.cpus,
        offer.memory_gb,
        offer.infra,
        offer.region or "",
        offer.zone or "",
        offer.instance_type,
    )


def _ask_all(resources: Resources, num_nodes: int, infras: Sequence[Infra]) -> list[Offer | Rejection]:
    wanted = resources.infra.cloud if resources.infra is not None else None
    asked = [infra for infra in infras if wanted in {None, infra.name}]
    if not asked and wanted is not None:
        return [
            Rejection(
                wanted, "cannot be used from here", f"`jupyter sky check {wanted}` says what is missing."
            )
        ]
    return [answer for infra in asked for answer in _ask(infra, resources, num_nodes)]


def _ask(infra: Infra, resources: Resources, num_nodes: int) -> list[Offer | Rejection]:
    if num_nodes > 1 and "multi_node" not in infra.capabilities:
        return [
            Rejection(infra.name, f"{num_nodes} nodes asked, it gives one at a time", "Ask for one node.")
        ]
    try:
        answers = infra.offers(resources, num_nodes)
    except SkyError as error:
        return [Rejection(infra.name, f"could not be asked: {error}", error.hint or "")]
    limit = resources.max_hourly_cost
    return [
        answer
        if isinstance(answer, Rejection) or limit is None or answer.price_hourly <= limit
        else _too_dear(answer, limit)
        for answer in answers
    ]


def _too_dear(offer: Offer, limit: float) -> Rejection:
    return Rejection(
        offer.infra,
        f"{offer.instance_type} costs ${offer.price_hourly:.2f} an hour and node, "
        f"max_hourly_cost is ${limit:.2f}",
        "Raise `max_hourly_cost`, or ask for less.",
    )


def _no_offer(
    task: Task,
    alternatives: Sequence[Resources],
    num_nodes: int,
    rejections: Sequence[Rejection],
    infras: Sequence[Infra],
) -> NoOfferError:
    asked = " or ".join(dict.fromkeys(resources.describe(num_nodes) for resources in alternatives))
    what = f"the task {task.name!r}" if task.name else "the task"
    if not infras and not rejections:
        return NoOfferError(
            f"No infra can be used from here, so {what} ({asked}) cannot run anywhere.",
            hint="`jupyter sky check` says what is missing.",
        )
    places = "\n".join(f"  {rejection.infra}: {rejection.reason}" for rejection in rejections)
    hints = dict.fromkeys(rejection.hint for rejection in rejections if rejection.hint)
    return NoOfferError(
        f"No infra can give what {what} asks for ({asked}):\n{places}", hint="\n".join(hints) or None
    )
