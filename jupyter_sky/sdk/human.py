"""Times, durations, sizes and money as a person reads them.

The forms are those SkyPilot's users know: `3 mins ago`, `1h 2m`, `$0.35`. Nothing here knows a table, a
terminal or a language other than English.
"""

from __future__ import annotations

import time

#: What stands in a cell that has nothing to say.
NOTHING = "-"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_AGES = (
    (365 * _DAY, "year"),
    (30 * _DAY, "month"),
    (7 * _DAY, "week"),
    (_DAY, "day"),
    (_HOUR, "hr"),
    (_MINUTE, "min"),
    (10, "sec"),
)


def ago(at: float | None, *, now: float | None = None) -> str:
    """Say how long ago a moment was: `a few secs ago`, `3 mins ago`, `2 weeks ago`.

    Parameters
    ----------
    at
        Seconds since the epoch; None gives `-`.
    now
        The moment it is compared with, by default the present one.
    """
    if at is None:
        return NOTHING
    passed = (time.time() if now is None else now) - at
    for seconds, unit in _AGES:
        if passed >= seconds:
            count = int(passed) if unit == "sec" else int(passed // seconds)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "a few secs ago"


def duration(seconds: float | None) -> str:
    """Say how long something took: `< 1s`, `45s`, `1m 2s`, `1h 2m 3s`, `2d 3h 4m`."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    if whole < 1:
        return "< 1s"
    days, rest = divmod(whole, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, secs = divmod(rest, _MINUTE)
    parts = [(days, "d"), (hours, "h"), (minutes, "m")]
    if not days:
        parts.append((secs, "s"))
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "< 1s"


def money(dollars: float) -> str:
    """Say a sum of US dollars with two digits, or with more where two would hide it: `$0.00`, `$0.0042`."""
    if 0 < dollars < 0.01:
        return f"${dollars:.4f}"
    return f"${dollars:,.2f}"


def size(count: float) -> str:
    """Say a number of bytes with its unit, three digits: `0 B`, `4.21 KB`, `1.3 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def amount(value: float, unit: str) -> str:
    """Say how much of a unit there is; of bytes as `size` does."""
    return size(value) if unit in {"B", "bytes"} else f"{value:g} {unit}".rstrip()
