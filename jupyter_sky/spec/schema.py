"""The JSON Schema (draft 2020-12) of a task's YAML, for editors and for other programs.

It is made from the models, so it cannot say anything else than they do. Short forms are added where
validators expand them, older keys where they are turned into today's, and texts with `$NAME` where
variables are filled in.
"""

from __future__ import annotations

from typing import Any

from jupyter_sky.spec.autostop import SHORT_AUTOSTOP
from jupyter_sky.spec.model import TaskModel

SCHEMA_ID = "https://jupyter-sky.readthedocs.io/schema/task.json"
_VARIABLE = {"type": "string", "pattern": r"\$\{?[A-Za-z_]"}
_NULL = {"type": "null"}
_ENVIRONMENT = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_OLDER = {
    "cloud": "The infra's name; `infra` says it today.",
    "region": "A region of the cloud; `infra` says it today.",
    "zone": "A zone of the region; `infra` says it today.",
}
#: Short forms: the definition, its property, and what may stand there beside the mapping.
_SHORT: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("Resources", "autostop"): SHORT_AUTOSTOP,
    ("Resources", "job_recovery"): [{"type": "string", "enum": ["EAGER_NEXT_REGION", "FAILOVER"]}],
    ("ServiceSpec", "readiness_probe"): [{"type": "string", "pattern": "^[/$]"}],
}
#: Definitions in which variables are filled in.
_SUBSTITUTED = frozenset({"ServiceSpec", "ReadinessProbe", "ReplicaPolicy", "LoadBalancer", "Tls", "Storage"})


def task_json_schema() -> dict[str, Any]:
    """Give the JSON Schema of one task document."""
    schema = TaskModel.model_json_schema(by_alias=True, mode="validation")
    definitions = schema["$defs"]
    definitions["Resources"]["properties"] |= {
        key: {"type": "string", "minLength": 1, "description": text, "deprecated": True}
        for key, text in _OLDER.items()
    }
    for (name, key), forms in _SHORT.items():
        _add_forms(definitions[name]["properties"][key], forms)
    for section in ("envs", "secrets"):
        described = schema["properties"][section]["description"]
        schema["properties"][section] = {**_ENVIRONMENT, "description": described}
    for name in _SUBSTITUTED & definitions.keys():
        for field in definitions[name]["properties"].values():
            _add_forms(field, [_VARIABLE])
    for model in (schema, *definitions.values()):
        for key, field in model["properties"].items():
            _tidy(field, optional=key not in model.get("required", ()))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "Jupyter Sky task",
    }


def _add_forms(field: dict[str, Any], forms: list[dict[str, Any]]) -> None:
    """Let other forms stand in the place of a property's own."""
    described = {key: field.pop(key) for key in ("description", "default", "title") if key in field}
    own = field.pop("anyOf", None) or [dict(field)]
    field.clear()
    field.update(anyOf=[*own, *forms], **described)


def _tidy(field: dict[str, Any], *, optional: bool) -> None:
    """Leave out what helps no editor (titles made from names, nulls as defaults); let null be not given."""
    field.pop("title", None)
    if field.get("default", ...) is None:
        del field["default"]
    if optional and _NULL not in field.get("anyOf", ()):
        _add_forms(field, [_NULL])
