"""What this machine can offer for a request, in numbers.

A node may use the whole machine, and the nodes of all local clusters share its processors and memory, as
programs on one machine do; only GPUs are handed out to one cluster alone. A task that asks for an exact
size gets a node of that size, so that what it counts on here is what it will get elsewhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jupyter_sky.infra.base import Offer, Rejection
from jupyter_sky.infra.local.allocations import MAX_NODES
from jupyter_sky.infra.local.layout import NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jupyter_sky.infra.local.facts import Gpu, Machine
    from jupyter_sky.spec import Resources


def offer_or_rejection(
    resources: Resources, num_nodes: int, machine: Machine, taken_gpus: Collection[int]
) -> Offer | Rejection:
    """Match one concrete request against this machine.

    Parameters
    ----------
    resources
        The request, without alternatives.
    num_nodes
        How many such nodes.
    machine
        What this machine has.
    taken_gpus
        Indices of the GPUs that other local clusters hold now.
    """
    refused = _not_here(resources, num_nodes)
    if refused is not None:
        return refused
    cpus = machine.cpus
    if resources.cpus is not None:
        if resources.cpus.value > machine.cpus:
            return Rejection(
                NAME,
                f"asks for {resources.cpus.value:g} vCPUs a node, this machine has {machine.cpus:g}",
                "Ask for fewer `cpus`, or leave them out to use what there is.",
            )
        if not resources.cpus.at_least:
            cpus = resources.cpus.value
    memory = machine.memory_gb
    if resources.memory is not None:
        wanted = resources.memory.value * (cpus if resources.memory.per_cpu else 1)
        if wanted > machine.memory_gb:
            return Rejection(
                NAME,
                f"asks for {wanted:g} GiB of memory a node, this machine has {machine.memory_gb:g} GiB",
                "Ask for less `memory`, or leave it out to use what there is.",
            )
        if not resources.memory.at_least:
            memory = wanted
    accelerators: dict[str, float] = {}
    for name, count in resources.accelerators.items():
        missing = _missing_gpus(name, count, num_nodes, machine.gpus, taken_gpus)
        if missing is not None:
            return missing
        accelerators[name] = count
    return Offer(infra=NAME, instance_type=NAME, cpus=cpus, memory_gb=memory, accelerators=accelerators)


def gpus_named(name: str, gpus: Sequence[Gpu]) -> list[Gpu]:
    """Give the GPUs that a person means by a name, whatever its case and hyphens."""
    return [gpu for gpu in gpus if _plain(gpu.name) == _plain(name)]


def whole_gpus(accelerators: dict[str, float]) -> int:
    """Give how many GPUs a node takes for itself; for a fraction a whole one, which its jobs share."""
    return sum(math.ceil(count) for count in accelerators.values())


def _plain(name: str) -> str:
    return name.replace("-", "").lower()


def _not_here(resources: Resources, num_nodes: int) -> Rejection | None:
    """Refuse what this machine is not: a cloud with spot prices, instance types, regions and images."""
    if resources.infra is not None and (resources.infra.region or resources.infra.zone):
        return Rejection(
            NAME, f"infra {str(resources.infra)!r}: this machine has no regions", "Write `infra: local`."
        )
    if resources.use_spot:
        return Rejection(NAME, "asks for spot nodes, this machine has none", "Leave `use_spot` out.")
    if resources.instance_type not in {None, NAME}:
        return Rejection(
            NAME,
            f"asks for instance type {resources.instance_type!r}, this machine is of type 'local'",
            "Ask for `cpus`, `memory` and `accelerators` instead.",
        )
    if resources.image_id:
        return Rejection(
            NAME,
            f"asks for the image {resources.image_id!r}, tasks here run on this machine as it is",
            "Leave `image_id` out, or use an infra that runs images (`infra: kubernetes`).",
        )
    if num_nodes > MAX_NODES:
        return Rejection(
            NAME,
            f"asks for {num_nodes} nodes, a local cluster has at most {MAX_NODES}",
            "Ask for fewer nodes.",
        )
    return None


def _missing_gpus(
    name: str, count: float, num_nodes: int, gpus: Sequence[Gpu], taken: Collection[int]
) -> Rejection | None:
    """Say why `num_nodes` times `count` GPUs of that name cannot be given; None where they can."""
    asked = f"{name}:{count:g} asked" + (f" on each of {num_nodes} nodes" if num_nodes > 1 else "")
    if not gpus:
        return Rejection(
            NAME, f"{asked}, this machine has no GPU", "Leave `accelerators` out, or use another infra."
        )
    right = gpus_named(name, gpus)
    if not right:
        kinds = ", ".join(
            f"{len(gpus_named(kind, gpus))} {kind}" for kind in sorted({gpu.name for gpu in gpus})
        )
        return Rejection(
            NAME, f"{asked}, this machine has {kinds}", "Ask for what there is, or use another infra."
        )
    free = [gpu for gpu in right if gpu.index not in taken]
    wanted = math.ceil(count) * num_nodes
    if wanted > len(right):
        return Rejection(NAME, f"{asked}, this machine has {len(right)} {right[0].name}", "Ask for fewer.")
    if wanted > len(free):
        return Rejection(
            NAME,
            f"{asked}, {len(free)} of the {len(right)} {right[0].name} of this machine are free",
            "Stop or take down a local cluster that holds GPUs: `jupyter sky status` lists them.",
        )
    return None
