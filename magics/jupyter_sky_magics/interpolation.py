r"""Python's variables in a magic's line: `$name`, `$name.attribute` and `{expression}`.

As IPython does it, expressions by its own formatter, but not all or nothing: a `$NAME` that Python does not
know is left for the shell on the node, so that `%sky exec $cluster -- echo $SKYPILOT_NODE_RANK` means what
it says. `$$`, `\$` and `${NAME}` are for the shell too, and so is every dollar inside single quotes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOLLAR = re.compile(
    r"""(?P<quoted>'[^']*')|(?P<literal>\\\$|\$\$)|(?P<shell>\$\{[A-Za-z_]\w*\})|\$(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)"""
)


def expand(line: str, names: Mapping[str, Any]) -> str:
    """Replace what the line takes from Python.

    Braces whose insides are no expression, such as JSON, leave all braces of the line as they are.

    Parameters
    ----------
    line
        What stands behind `%sky`.
    names
        The variables that are known.
    """
    from IPython.utils.text import FullEvalFormatter

    formatter = FullEvalFormatter()
    for braces_are_text in (False, True):
        template = _template(line, names, braces_are_text=braces_are_text)
        try:
            return formatter.vformat(template, (), dict(names))
        except Exception:  # noqa: BLE001, S112 - an expression is the person's own and may raise anything
            continue
    return line


def _template(line: str, names: Mapping[str, Any], *, braces_are_text: bool) -> str:
    """Write the line as a format string, in which a known `$name` is `{name}`."""
    parts: list[str] = []
    end = 0
    for match in _DOLLAR.finditer(line):
        between = line[end : match.start()] + (match["quoted"] or "")
        parts.append(_doubled(between) if braces_are_text else between)
        end = match.end()
        if match["literal"]:
            parts.append("$")
        elif match["shell"]:
            parts.append(_doubled(match["shell"]))
        elif match["name"]:
            parts.append(_variable(match["name"], names))
    rest = line[end:]
    parts.append(_doubled(rest) if braces_are_text else rest)
    return "".join(parts)


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _variable(dotted: str, names: Mapping[str, Any]) -> str:
    """Write the longest part of a dotted name that exists as a field: of `$run.yaml`, maybe only `run`."""
    head, *attributes = dotted.split(".")
    if head not in names:
        return f"${dotted}"
    value, field = names[head], head
    for position, attribute in enumerate(attributes):
        if not hasattr(value, attribute):
            return f"{{{field}}}.{'.'.join(attributes[position:])}"
        value, field = getattr(value, attribute), f"{field}.{attribute}"
    return f"{{{field}}}"
