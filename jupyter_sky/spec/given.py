"""What is given in Python instead of YAML, turned into the same plain data that YAML would have held.

It only changes forms; whether the data is a task is for the models to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import SpecError
from jupyter_sky.spec.base import plain
from jupyter_sky.spec.problems import FieldError

if TYPE_CHECKING:
    from collections.abc import Sequence


def script_text(script: str | Sequence[str] | None) -> str | Sequence[str] | None:
    """Join a list of commands by line ends."""
    return "\n".join(map(str, script)) if isinstance(script, (list, tuple)) else script


def plain_config(given: dict[str, Any]) -> dict[str, Any]:
    """Turn what was given in Python into plain data."""
    made = {}
    for key, value in given.items():
        try:
            made[key] = plain(value)
        except FieldError as error:
            raise SpecError(f"`{key}` {error.message}", hint=error.hint) from None
    return made


def variables_apart(config: dict[str, Any]) -> dict[str, Any]:
    """Turn a mapping given in Python into plain data, leaving secrets as they are."""
    apart = {"envs", "secrets"}
    if not all(isinstance(key, str) for key in config):
        raise SpecError("the keys of a task are texts")
    return plain_config({k: v for k, v in config.items() if k not in apart}) | {
        k: config[k] for k in apart & config.keys()
    }


def resources_config(resources: Any) -> Any:
    """Give the configuration of resources in any of their Python forms."""
    if isinstance(resources, (list, tuple)):
        return {"ordered": list(resources)} if len(resources) != 1 else resources[0]
    if isinstance(resources, (set, frozenset)):
        items = sorted(resources, key=repr)
        return {"any_of": items} if len(items) != 1 else items[0]
    return resources
