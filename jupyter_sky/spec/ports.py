"""Ports as people write them: 8080, '8080', '8000-8010', or a list of those."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from jupyter_sky.spec.base import whole
from jupyter_sky.spec.problems import FieldError, quote

_RANGE = re.compile(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", re.ASCII)


def _parse_one(value: object) -> range:
    if isinstance(value, str):
        match = _RANGE.fullmatch(value)
        if match is None:
            raise FieldError(f"must be a port such as 8080 or a range such as 8000-8010, not {quote(value)}")
        first, last = int(match[1]), int(match[2] or match[1])
    else:
        first = last = whole(value)
    if not 1 <= first <= 65535 or not 1 <= last <= 65535:
        raise FieldError(f"must be a port from 1 to 65535, not {quote(value)}")
    if first > last:
        raise FieldError(f"must be a range whose end is not before its begin, not {quote(value)}")
    return range(first, last + 1)


def parse_port(value: object) -> int:
    """Read one port."""
    found = _parse_one(value)
    if len(found) != 1:
        raise FieldError(f"must be one port, not {quote(value)}")
    return found[0]


def parse_ports(value: object) -> list[int]:
    """Read ports; each is in the list once, in the order they were given."""
    items = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return list(dict.fromkeys(port for item in items for port in _parse_one(item)))


def show_ports(ports: list[int]) -> list[int | str]:
    """Write ports as YAML holds them, neighbours as ranges."""
    runs: list[list[int]] = []
    for port in ports:
        if runs and runs[-1][1] == port - 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return [first if first == last else f"{first}-{last}" for first, last in runs]


_ONE = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": r"^\s*[0-9]{1,5}\s*(-\s*[0-9]{1,5}\s*)?$"},
    ]
}
Port = Annotated[int, PlainValidator(parse_port), WithJsonSchema(_ONE)]
Ports = Annotated[
    list[int],
    PlainValidator(parse_ports),
    WithJsonSchema({"anyOf": [*_ONE["anyOf"], {"type": "array", "items": _ONE}]}),
]
