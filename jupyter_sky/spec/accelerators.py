"""Accelerators as people ask for them: 'T4', 'A100:8', {A100: 8, H100: 8}, ['A100:8', 'H100:8'], 'T4:0.5'.

The case of a name that we know does not matter ('a100-80gb' is 'A100-80GB'). A name that we do not know is
kept as it was written, because the label of a node may be spelled in any way; it is compared without regard
to case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from jupyter_sky.spec.base import number
from jupyter_sky.spec.problems import FieldError, nearest, quote
from jupyter_sky.spec.quantities import show_number

#: The spelling of the accelerators that clouds and nodes have.
CANONICAL = tuple(
    """
    A10 A100 A100-80GB A10G A30 A40 A4000 A5000 A6000 B200 B300 GB200 GB300 GH200 Gaudi Gaudi2
    Gaudi3 GTX1080Ti H100 H100-MEGA H100-NVL H100-SXM H100NVL H200 H200-SXM H800 Inferentia
    Inferentia2 K80 L4 L40 L40S M4000 M60 MI100 MI210 MI250 MI250X MI300A MI300X MI325X MI355X P100
    P4 P40 P4000 Quadro-RTX-6000 Radeon-Pro-V520 RTX3060 RTX3070 RTX3080 RTX3090 RTX4000-Ada RTX4090
    RTX5000-Ada RTX5090 RTX6000 RTX6000-Ada RTXA4000 RTXA5000 RTXA6000 RTXPRO6000 T4 T4g Trainium
    Trainium2 V100 V100-32GB
    """.split()  # noqa: SIM905 - a list of sixty strings reads worse
)
_BY_FOLDED = {name.lower(): name for name in CANONICAL}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_MAX_COUNT = 4096


@dataclass(frozen=True, slots=True)
class Accelerators:
    """What will do: `choices` are names with how many per node; `ordered` says that the first is best."""

    choices: tuple[tuple[str, float], ...]
    ordered: bool = False

    def __str__(self) -> str:
        shown = [show_accelerator(name, count) for name, count in self.choices]
        if len(shown) == 1:
            return shown[0]
        return ("[{}]" if self.ordered else "{{{}}}").format(", ".join(shown))

    def to_yaml_config(self) -> str | list[str] | dict[str, None]:
        """Give them as YAML holds them: one as a text, an order as a list, alternatives as keys."""
        shown = [show_accelerator(name, count) for name, count in self.choices]
        if len(shown) == 1:
            return shown[0]
        return shown if self.ordered else dict.fromkeys(shown)


def show_accelerator(name: str, count: float) -> str:
    """Write one accelerator: 'A100:8'."""
    return f"{name}:{show_number(count)}"


def canonical_name(name: str) -> str:
    """Give the usual spelling of a name, or the name itself where we know none."""
    folded = name.lower()
    return _BY_FOLDED.get(folded, folded if folded.startswith("tpu-") else name)


def same_name(one: str, other: str) -> bool:
    """Tell whether two names are the same accelerator."""
    return one.lower() == other.lower()


def _parse_count(value: object, shown: str) -> float:
    try:
        count = number(value)
    except FieldError:
        count = -1.0
    if not 0 < count <= _MAX_COUNT:
        raise FieldError(
            f"asks for a count that is no number above 0: {shown}",
            hint="Write it as NAME:COUNT, such as A100:8.",
        )
    if count > 1 and count != int(count):
        raise FieldError(
            f"asks for a fraction of more than one: {shown}", hint="Below 1, fractions are fine: T4:0.5."
        )
    return count


def _parse_one(value: object) -> tuple[str, float]:
    if not isinstance(value, str):
        raise FieldError(f"must be a text such as 'A100:8', not {quote(value)}")
    name, colon, count = (part.strip() for part in value.partition(":"))
    return _check_name(name, value), _parse_count(count, quote(value)) if colon else 1.0


def _check_name(name: str, whole: str) -> str:
    if not _NAME.fullmatch(name):
        near = nearest(name.upper(), CANONICAL)
        raise FieldError(
            f"has no accelerator's name in {quote(whole)}",
            hint="Write it as NAME:COUNT, such as A100:8." + (f" Did you mean {near}?" if near else ""),
        )
    return canonical_name(name)


def parse_accelerators(value: object) -> Accelerators:
    """Read accelerators in any of their forms.

    A list is in order of preference; a mapping of several, or a set, is alternatives of equal worth.

    Raises
    ------
    FieldError
        If a name or a count is none, or the same choice is there twice with the same count.
    """
    if isinstance(value, Accelerators):
        return value
    ordered = isinstance(value, (list, tuple))
    found: list[tuple[str, float]] = []
    if isinstance(value, dict):
        for name, count in value.items():
            if count is None or not isinstance(name, str):
                found.append(_parse_one(name))
            else:
                found.append(
                    (_check_name(name.strip(), name), _parse_count(count, f"{name}: {quote(count)}"))
                )
    elif isinstance(value, (list, tuple, set, frozenset)):
        items: Any = value if ordered else sorted(map(str, value))
        found.extend(_parse_one(item) for item in items)
    else:
        found.append(_parse_one(value))
    if not found:
        raise FieldError("is empty", hint="Leave the key out for a task without accelerators.")
    choices = tuple(dict.fromkeys(found))
    return Accelerators(choices, ordered=ordered and len(choices) > 1)


AcceleratorsField = Annotated[
    Accelerators,
    PlainValidator(parse_accelerators),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "examples": ["T4", "A100:8", "T4:0.5"]},
                {"type": "array", "minItems": 1, "items": {"type": "string"}},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": ["number", "null"], "exclusiveMinimum": 0},
                },
            ]
        }
    ),
]
