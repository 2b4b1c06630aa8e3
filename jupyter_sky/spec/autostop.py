"""When a cluster stops by itself, and how a managed job recovers: the two policies of `resources`.

Both have short forms: `autostop: 10`, `autostop: 10m`, `autostop: true`; `job_recovery: FAILOVER`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from jupyter_sky.spec.base import Flag, NonEmpty, SpecModel, flag, whole, whole_type, word_type
from jupyter_sky.spec.problems import FieldError, quote
from jupyter_sky.spec.quantities import Seconds, parse_span

#: How many idle minutes `autostop: true` allows.
DEFAULT_IDLE_MINUTES = 5.0

#: The short forms, for the JSON Schema.
SHORT_AUTOSTOP: list[dict[str, Any]] = [
    {"type": "boolean"},
    {"type": "number", "minimum": -1},
    {"type": "string", "minLength": 1},
]


def _minutes(value: object) -> float:
    found = parse_span(value, unit="m")
    if found < 0:
        raise FieldError(
            f"must not be negative, not {quote(value)}", hint="Write 'autostop: false' for never."
        )
    return found


class Autostop(SpecModel):
    """When a cluster that does nothing stops."""

    idle_minutes: Annotated[
        float,
        PlainValidator(_minutes),
        WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "minLength": 1}]}),
    ] = Field(
        default=DEFAULT_IDLE_MINUTES,
        description="Minutes of doing nothing, as a number or a span ('10m', '2h').",
    )
    down: Flag = Field(default=False, description="Remove the cluster rather than stop it.")
    wait_for: Annotated[str, *word_type("jobs_and_ssh", "jobs", "none")] = Field(
        default="jobs_and_ssh",
        description="What counts as doing something: jobs and open sessions, jobs, nothing.",
    )
    hook: NonEmpty | None = Field(
        default=None, description="A shell command that runs on the head before it stops."
    )
    hook_timeout: Seconds | None = Field(default=None, description="Seconds the hook may take.")


def expand_autostop(value: object) -> Any:
    """Turn the short forms into what `Autostop` is made of; never is None."""
    if value is None or isinstance(value, (dict, Autostop)):
        return value
    if isinstance(value, str) and value.strip().lower() in {"true", "false", "yes", "no", "on", "off"}:
        value = flag(value)
    if isinstance(value, bool):
        return {"idle_minutes": DEFAULT_IDLE_MINUTES} if value else None
    return None if parse_span(value, unit="m") == -1 else {"idle_minutes": value}


AutostopField = Annotated[
    Autostop | None, BeforeValidator(expand_autostop, json_schema_input_type=Autostop | None)
]


def _exit_codes(value: object) -> list[int]:
    items = value if isinstance(value, (list, tuple)) else [value]
    codes = [whole(item) for item in items]
    for code in codes:
        if not 0 <= code <= 255:
            raise FieldError(f"must be exit codes from 0 to 255, not {code}")
    return list(dict.fromkeys(codes))


_CODE = {"type": "integer", "minimum": 0, "maximum": 255}


class JobRecovery(SpecModel):
    """What a managed job does when its cluster is lost, and when the task itself fails."""

    strategy: Annotated[str, *word_type("EAGER_NEXT_REGION", "FAILOVER", upper=True)] = Field(
        default="EAGER_NEXT_REGION",
        description="Where to start again: elsewhere first (EAGER_NEXT_REGION) or there first (FAILOVER).",
    )
    max_restarts_on_errors: Annotated[int, *whole_type(0)] = Field(
        default=0, description="How often the task is started again after it failed by itself."
    )
    recover_on_exit_codes: Annotated[
        list[int],
        PlainValidator(_exit_codes),
        WithJsonSchema({"anyOf": [_CODE, {"type": "array", "items": _CODE}]}),
    ] = Field(
        default_factory=list, description="Exit codes after which it is always started again, uncounted."
    )


def expand_job_recovery(value: object) -> Any:
    """Turn the short form, a strategy's name, into what `JobRecovery` is made of."""
    return {"strategy": value} if isinstance(value, str) else value


JobRecoveryField = Annotated[
    JobRecovery, BeforeValidator(expand_job_recovery, json_schema_input_type=JobRecovery)
]
