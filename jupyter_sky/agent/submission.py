"""Checking what is submitted before anything is done with it.

A job that cannot be understood, or can never fit, is refused at once with what was asked, what was found and
what to do. What passes here is complete: every key is there, with its type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Dict, Sequence, Tuple

from .params import can_be_carried
from .wire import CallError

if TYPE_CHECKING:
    from .placement import Capacity

#: A submission's id becomes part of a process's mark.
_SUBMISSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXT_OR_NONE = (str, type(None))
#: Each key of a job's spec: its types, and what stands for it where it is missing (... : it must be given).
_FIELDS: Dict[str, Tuple[Tuple[type, ...], Any]] = {
    "submission_id": ((str,), ...),
    "name": (_TEXT_OR_NONE, None),
    "user": ((str,), ""),
    "task_id": ((str,), ""),
    "setup": (_TEXT_OR_NONE, None),
    "run": (_TEXT_OR_NONE, None),
    "envs": ((dict,), {}),
    "num_nodes": ((int,), 1),
    "cpus": ((int, float), 0.5),
    "gpus": ((int, float), 0),
    "gpu_name": (_TEXT_OR_NONE, None),
    "resources_str": ((str,), ""),
    "ports": ((list,), []),
}


def check_spec(raw: Any) -> Dict[str, Any]:
    """Give a job's spec complete and checked.

    Raises
    ------
    CallError
        `bad_params`: a key is unknown, missing or of the wrong type, or a number makes no sense.
    """
    if not isinstance(raw, dict):
        raise CallError("bad_params", "the spec of the job is not an object")
    unknown = sorted(set(raw) - set(_FIELDS))
    if unknown:
        raise CallError("bad_params", f"the spec of the job has unknown keys: {', '.join(unknown)}")
    spec: Dict[str, Any] = {}
    for key, (types, default) in _FIELDS.items():
        value = raw.get(key, default)
        if value is ... or not isinstance(value, types) or isinstance(value, bool):
            found = "missing" if value is ... else ascii(value)[:100]
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise CallError("bad_params", f"the job's {key} is {found}; it must be {wanted}")
        if isinstance(value, str) and not can_be_carried(value):
            raise CallError("bad_params", f"the job's {key} holds a NUL or half a character")
        spec[key] = value
    if not _SUBMISSION_ID.fullmatch(spec["submission_id"]):
        raise CallError("bad_params", "the job's submission_id must be 1 to 64 letters, digits, - and _")
    check_env(spec["envs"], "envs")
    for key in ("cpus", "gpus"):
        if not 0 <= spec[key] < 1e6:
            raise CallError("bad_params", f"the job's {key} is {spec[key]}; it must be 0 or more")
    if spec["gpus"] > 1 and spec["gpus"] != int(spec["gpus"]):
        raise CallError(
            "bad_params", f"{spec['gpus']:g} GPUs cannot be had: ask for whole ones, or less than one"
        )
    if spec["num_nodes"] < 1:
        raise CallError("bad_params", f"the job's num_nodes is {spec['num_nodes']}; it must be 1 or more")
    return spec


def check_env(env: Any, what: str) -> None:
    """Check that something can be the environment of a process. A value is never shown: it may be secret."""
    if not isinstance(env, dict):
        raise CallError("bad_params", f"the job's {what} is not an object")
    for name, value in env.items():
        if not name or "=" in name or not can_be_carried(name):
            shown = ascii(name)[:100]
            raise CallError("bad_params", f"{shown} in the job's {what} cannot name an environment variable")
        if not isinstance(value, str) or not can_be_carried(value):
            raise CallError("bad_params", f"the value of {name} in the job's {what} is no text without NUL")


def check_fits(spec: Dict[str, Any], capacities: Sequence[Capacity], num_nodes: int) -> None:
    """Check that the job would fit on the empty cluster.

    Raises
    ------
    CallError
        `does_not_fit`, or `not_configured` where the cluster's other nodes are not known yet.
    """
    wanted = spec["num_nodes"]
    if wanted > num_nodes:
        raise CallError(
            "does_not_fit",
            f"the job asks for {wanted} nodes; the cluster has {num_nodes}",
            "launch a larger cluster, or ask for fewer nodes",
        )
    if wanted > len(capacities):
        raise CallError("not_configured", "the head has not been told of the cluster's other nodes yet")
    for rank, capacity in enumerate(capacities[:wanted]):
        if not capacity.could_ever_fit(spec["cpus"], spec["gpus"]):
            gpu = spec["gpu_name"] or "GPU"
            raise CallError(
                "does_not_fit",
                f"the job asks for {spec['cpus']:g} CPUs and {spec['gpus']:g} {gpu} on each node; "
                f"node {rank} has {capacity.cpus:g} CPUs and {capacity.gpu_count} GPUs",
                "ask for less, or launch a cluster whose nodes have more",
            )
