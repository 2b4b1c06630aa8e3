"""The rule for names, in one place.

Clusters, jobs and services become host names, folder names and labels on every infra, so all of them
follow the strictest of those rules: a DNS-1123 label.
"""

from __future__ import annotations

import re

from jupyter_sky.errors import InvalidNameError

MAX_LENGTH = 63
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
RULE = (
    "a name is 1 to 63 lower-case letters, digits and hyphens, "
    "and begins and ends with a letter or a digit (DNS-1123)"
)


def is_name(name: str) -> bool:
    """Tell whether `name` follows the rule."""
    return len(name) <= MAX_LENGTH and _LABEL.fullmatch(name) is not None


def check_name(name: str, what: str = "cluster") -> str:
    """Return `name` unchanged, or raise `InvalidNameError` that states the rule.

    Parameters
    ----------
    name
        What the person typed.
    what
        The kind of thing that is named, for the message.
    """
    if not is_name(name):
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise InvalidNameError(f"{shown!r} cannot be the name of a {what}: {RULE}.")
    return name
