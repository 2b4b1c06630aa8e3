"""Filling `$NAME` and `${NAME}` in, from a task's `envs` and `secrets`.

It is done in `service`, `resources.image_id`, `file_mounts` and `workdir` only: `setup` and `run` are
scripts, in which the shell does it. A name that the task does not know is left as it is (`$HOME/data` is
the node's business).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jupyter_sky.spec.redact import SubstitutedStr

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_SECTIONS = ("service", "file_mounts", "workdir")


def substitute_text(text: str, envs: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    """Fill variables in; the result remembers what was written, if anything was filled in."""
    names = [one or other for one, other in _VARIABLE.findall(text)]
    if not any(name in envs or name in secrets for name in names):
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return secrets.get(name, envs.get(name, match[0]))

    return SubstitutedStr(_VARIABLE.sub(value, text), text, secret=any(name in secrets for name in names))


def _fill(value: Any, envs: Mapping[str, str], secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return substitute_text(value, envs, secrets)
    if isinstance(value, dict):
        return {_fill(key, envs, secrets): _fill(item, envs, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, envs, secrets) for item in value]
    return value


def substitute(config: dict[str, Any], envs: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Give a task's configuration with variables filled in where that is done; the one given is unchanged."""
    filled = {
        key: _fill(value, envs, secrets) if key in _SECTIONS else value for key, value in config.items()
    }
    if isinstance(filled.get("resources"), dict):
        filled["resources"] = _fill_image(filled["resources"], envs, secrets)
    return filled


def _fill_image(
    resources: dict[str, Any], envs: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, Any]:
    filled = dict(resources)
    if "image_id" in filled:
        filled["image_id"] = _fill(filled["image_id"], envs, secrets)
    for key in ("any_of", "ordered"):
        if isinstance(filled.get(key), list):
            filled[key] = [
                _fill_image(item, envs, secrets) if isinstance(item, dict) else item for item in filled[key]
            ]
    return filled
