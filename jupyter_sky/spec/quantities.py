"""Amounts of CPUs, memory, disk and time, as people write them: '4', '4+', '2x', '64GB', '10m'.

Memory and disk are GiB and GB as clouds speak of them: the unit written behind a number is a power of 1024
of the next, and is not told apart between GB and GiB, because no cloud does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from jupyter_sky.spec.base import number
from jupyter_sky.spec.problems import FieldError, quote

_NUMBER = r"(?P<number>\d+(?:\.\d*)?|\.\d+)"
_QUANTITY = re.compile(rf"{_NUMBER}\s*(?P<unit>[a-z]*)\s*(?P<plus>\+?)", re.IGNORECASE | re.ASCII)
_SPAN = re.compile(rf"{_NUMBER}\s*(?P<unit>[a-z]*)", re.IGNORECASE | re.ASCII)

#: How many GiB one of the unit is.
_GIGABYTES = {"m": 1 / 1024, "g": 1.0, "t": 1024.0, "p": 1024.0**2} | {
    f"{letter}{rest}": size
    for letter, size in (("m", 1 / 1024), ("g", 1.0), ("t", 1024.0), ("p", 1024.0**2))
    for rest in ("b", "ib", "i")
}
#: How many seconds one of the unit is.
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def show_number(value: float) -> str:
    """Write a number the short way: 4 rather than 4.0."""
    return str(int(value)) if value == int(value) else repr(value)


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount that is wanted.

    Attributes
    ----------
    value
        How many CPUs or GiB; with `per_cpu`, how many for each CPU.
    at_least
        Whether more will do (written with a `+`).
    per_cpu
        Whether the value is for each CPU (memory written with an `x`).
    """

    value: float
    at_least: bool = False
    per_cpu: bool = False

    def __str__(self) -> str:
        return f"{show_number(self.value)}{'x' if self.per_cpu else ''}{'+' if self.at_least else ''}"

    def to_yaml_config(self) -> str:
        """Give the amount as YAML holds it."""
        return str(self)


def _parse(value: object, units: dict[str, float], example: str) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = Quantity(number(value))
    else:
        match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
        unit = match["unit"].lower() if match else ""
        if match is None or (unit and unit not in units and unit != "x"):
            raise FieldError(f"must be a number such as {example}, not {quote(value)}")
        if unit == "x" and "gb" not in units:
            raise FieldError(f"must be a number such as {example}, not {quote(value)}")
        size = units.get(unit, 1.0)
        found = Quantity(number(match["number"]) * size, bool(match["plus"]), per_cpu=unit == "x")
    if not found.value > 0:
        raise FieldError(f"must be more than nothing, not {quote(value)}")
    return found


def parse_cpus(value: object) -> Quantity:
    """Read a number of CPUs: 4, '4', '0.5', '4+'."""
    return _parse(value, {}, "4 or '4+'")


def parse_memory(value: object) -> Quantity:
    """Read an amount of memory in GiB: 16, '16', '16+', '16GB', '2x' (two for each CPU)."""
    return _parse(value, _GIGABYTES, "16, '16+' (GiB) or '4x' (GiB for each CPU)")


def parse_size(value: object) -> int:
    """Read the size of a disk in GB: 256, '256', '256GB', '1TB'."""
    found = _parse(value, _GIGABYTES, "256 or '1TB' (GB)")
    if found.at_least or found.per_cpu or found.value != int(found.value):
        raise FieldError(f"must be a whole number of GB such as 256, not {quote(value)}")
    return int(found.value)


def parse_span(value: object, *, unit: str) -> float:
    """Read a span of time: a number of `unit` ('s' or 'm'), or a text such as '90s', '10m', '2h', '1d'.

    Returns
    -------
    float
        The span in `unit`; negative values are given back as they are.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    if isinstance(value, str):
        match = _SPAN.fullmatch(value.strip())
        name = (match["unit"].lower() or unit) if match else ""
        if match and name in _SECONDS:
            return number(match["number"]) * _SECONDS[name] / _SECONDS[unit]
        if value.strip() == "-1":
            return -1.0
    raise FieldError(f"must be a span of time such as 10 or '10m', not {quote(value)}")


def parse_seconds(value: object) -> float:
    """Read a span of time in seconds; not negative."""
    found = parse_span(value, unit="s")
    if found < 0:
        raise FieldError(f"must not be negative, not {quote(value)}")
    return found


_AMOUNT = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}
Cpus = Annotated[Quantity, PlainValidator(parse_cpus), WithJsonSchema(_AMOUNT)]
Memory = Annotated[Quantity, PlainValidator(parse_memory), WithJsonSchema(_AMOUNT)]
SizeGb = Annotated[int, PlainValidator(parse_size), WithJsonSchema(_AMOUNT)]
Seconds = Annotated[
    float,
    PlainValidator(parse_seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}),
]
