"""Hide the values of secrets in everything an operation writes down.

It is the last net: the code above passes no secret to a log. A value shorter than four characters is left
alone, because it stands in every text and hides nothing. A value of several lines is hidden line by line as
well, since that is how it would be printed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
_SHORTEST = 4


def _spellings(value: str) -> tuple[str, ...]:
    """Give how a value looks in plain text, in a `repr`, in JSON and in an address."""
    return (value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe=""))


class Redactor:
    """Replaces every known secret value by `***`; safe to use from several threads."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these values too from now on."""
        found = {
            part
            for value in values
            for line in (value, *value.splitlines())
            for part in _spellings(line)
            if len(line) >= _SHORTEST
        }
        self._values |= found
        if self._values:
            # the longest first, so that a secret that holds another one is hidden whole
            ordered = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def text(self, text: str) -> str:
        """Give `text` without secrets."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def data(self, value: Any) -> Any:
        """Give a JSON value without secrets, keys included."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value
