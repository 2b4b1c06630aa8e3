"""Checking the parameters of calls before anything is done with them.

Whoever calls may be of another version, mistaken or hostile. What is not what it should be is refused with
`bad_params` and a sentence; nothing of it becomes a path, a process or a row. This module knows no method.
"""

from __future__ import annotations

from typing import Any, Mapping

from .wire import CallError

#: What SQLite, and any file's offset, can hold.
MAX_WHOLE = (1 << 63) - 1
#: The longest time anyone may ask for, in seconds: thirty years.
MAX_SECONDS = 1e9


def refusal(name: str, value: Any, wanted: str) -> CallError:
    """Make the error for a parameter; only the beginning of its value is shown."""
    return CallError("bad_params", f"{name} is {ascii(value)[:100]}; it must be {wanted}")


def is_whole(value: Any, least: int = 0, most: int = MAX_WHOLE) -> bool:
    """Say whether a value is a whole number in these bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(params: Mapping[str, Any], name: str, least: int = 0, most: int = MAX_WHOLE) -> int:
    """Give a whole number. Raises `CallError` (`bad_params`), as everything here."""
    value = params.get(name)
    if not is_whole(value, least, most):
        raise refusal(name, value, f"a whole number from {least} to {most}")
    return int(value)  # type: ignore[arg-type] # `is_whole` has proved it


def seconds(params: Mapping[str, Any], name: str, default: Any = None) -> float:
    """Give a duration in seconds; NaN and the infinite are none."""
    value = params.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MAX_SECONDS:
        raise refusal(name, value, "a number of seconds")
    return float(value)


def text(params: Mapping[str, Any], name: str) -> str:
    """Give a text that files and environments can carry."""
    value = params.get(name)
    if not isinstance(value, str) or not can_be_carried(value):
        raise refusal(name, value, "a text without NUL")
    return value


def one_of(params: Mapping[str, Any], name: str, words: "tuple[str, ...]") -> str:
    """Give one of some words."""
    value = params.get(name)
    if not isinstance(value, str) or value not in words:
        raise refusal(name, value, "one of " + ", ".join(words))
    return value


def flag(params: Mapping[str, Any], name: str) -> bool:
    """Give a yes or no."""
    value = params.get(name)
    if not isinstance(value, bool):
        raise refusal(name, value, "true or false")
    return value


def can_be_carried(value: str) -> bool:
    """Say whether a text has neither a NUL nor half a character, which no environment can hold."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return "\0" not in value
