"""Turning whatever is wrong with a task into one sentence with a place in a file.

Validators raise `FieldError`; pydantic collects them; `spec_error` finds the line of the first in the file
and words it for the person. It must never quote a secret: a text that a secret was substituted into is
shown as it was written, and what a validator said about such a text is not repeated.
"""

from __future__ import annotations

import difflib
import reprlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import SpecError
from jupyter_sky.spec.redact import SubstitutedStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError

#: Where something stands in a document: the keys and list positions that lead to it.
Path = tuple[str | int, ...]

_MAX_SHOWN = 60
_MAX_OTHERS = 4


class FieldError(SpecError, ValueError):
    """A value that cannot be used; pydantic adds where it stands, because this is a `ValueError` too.

    Parameters
    ----------
    message
        What is wrong, as the rest of a sentence that begins with the name of the field.
    key
        The key inside the checked mapping that is to blame, where the mapping itself was checked.
    about_key
        Whether the key itself, rather than its value, is wrong.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, key: str | None = None, about_key: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.key = key
        self.about_key = about_key


@dataclass(frozen=True, slots=True)
class Source:
    """Where a task was read from: a file's name and the lines (from 1) of its keys and values."""

    file: str | None = None
    lines: Mapping[Path, int] = field(default_factory=dict)
    key_lines: Mapping[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int | None:
        """Give the line of the key at `path`, or of the nearest thing around it; None if nothing is known."""
        while True:
            line = self.key_lines.get(path) or self.lines.get(path)
            if line is not None or not path:
                return line
            path = path[:-1]

    def error(self, path: Path, message: str, *, hint: str | None = None) -> SpecError:
        """Make the error for what stands at `path`."""
        return SpecError(message, file=self.file, line=self.line_of(path), hint=hint)


def dotted(path: Path) -> str:
    """Write a path as people do: `resources.any_of[1].cpus`."""
    text = ""
    for item in map(_as_written, path):
        text += f"[{item}]" if isinstance(item, int) else f".{item}" if text else item
    return text


def _as_written(item: str | int) -> str | int:
    return item.template if isinstance(item, SubstitutedStr) else item


def quote(value: object) -> str:
    """Show a value in a message, shortened; what variables were filled into is shown as it was written."""
    if isinstance(value, SubstitutedStr):
        return quote(value.template)
    if isinstance(value, (str, bytes)):
        text = repr(value)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (int, float)):
        text = reprlib.repr(value)
    else:
        return kind_of(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 4]}...{text[-1]}"


def kind_of(value: object) -> str:
    """Name the kind of a value in YAML's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list"
    return f"a {type(value).__name__}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Give the known word that `word` was probably meant to be."""
    matches = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_key(key: str, known: Iterable[str]) -> FieldError:
    """Make the error for a key that does not exist, with the one that was probably meant."""
    words = sorted(known)
    near = nearest(key, words)
    hint = f"Did you mean {near!r}?" if near else f"Known keys: {', '.join(words)}."
    return FieldError(f"unknown key {quote(key)}", key=key, about_key=True, hint=hint)


def one_of(value: object, allowed: Iterable[str]) -> FieldError:
    """Make the error for a word outside a list, with the one that was probably meant."""
    words = list(allowed)
    near = nearest(value.lower(), words) if isinstance(value, str) else None
    hint = f"Did you mean {near!r}?" if near else None
    return FieldError(f"must be one of {', '.join(words)}, not {quote(value)}", hint=hint)


_EXPECTED = {
    "string_type": "must be a text",
    "dict_type": "must be a mapping ('key: value' lines)",
    "mapping_type": "must be a mapping ('key: value' lines)",
    "model_type": "must be a mapping ('key: value' lines)",
    "model_attributes_type": "must be a mapping ('key: value' lines)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "union_tag_not_found": "must be a text or a mapping ('key: value' lines)",
}


def _locate(loc: tuple[str | int, ...], data: Any) -> tuple[Path, Any]:
    """Follow pydantic's location through the data, leaving out what pydantic added (tags of unions)."""
    path: list[str | int] = []
    value = data
    for step in loc:
        item = step
        if isinstance(value, dict) and item in value:
            item, value = next(pair for pair in value.items() if pair[0] == item)
        elif isinstance(value, (list, tuple)) and isinstance(item, int) and item < len(value):
            value = value[item]
        else:
            continue
        path.append(_as_written(item))
    return tuple(path), value


def _holds_secret(value: Any) -> bool:
    if isinstance(value, SubstitutedStr):
        return value.secret
    if isinstance(value, dict):
        return any(_holds_secret(k) or _holds_secret(v) for k, v in value.items())
    return isinstance(value, (list, tuple)) and any(_holds_secret(item) for item in value)


def _describe(error: Any, data: Any, root: Path) -> tuple[Path, str, str | None]:
    """Word one of pydantic's errors: the path it stands at, the message, the hint."""
    path, value = _locate(error["loc"], data)
    raised = error.get("ctx", {}).get("error")
    hint: str | None = None
    if isinstance(raised, FieldError):
        text, hint = raised.message, raised.hint
        if raised.key is not None:
            path = (*path, _as_written(raised.key))
            value = value.get(raised.key, value) if isinstance(value, dict) else value
        if raised.about_key:
            where = dotted((*root, *path[:-1]))
            return path, f"{text} in `{where}`" if where else text, hint
    elif error["type"] == "missing":
        return path, f"`{dotted((*root, *path, str(error['loc'][-1])))}` is missing", None
    elif error["type"] in _EXPECTED:
        text = f"{_EXPECTED[error['type']]}, not {quote(value)}"
    else:
        text = error["msg"]
    where = dotted((*root, *path))
    if _holds_secret(value):
        text = "cannot be used as it is; its value comes from a secret and is not shown"
        hint = "Check the secret's value, or write the value itself."
    return path, f"`{where}` {text}" if where else text, hint


def spec_error(
    error: ValidationError, data: Any, *, source: Source | None = None, root: Path = ()
) -> SpecError:
    """Word everything pydantic found as one `SpecError`: the first in the file, the others in the hint.

    Parameters
    ----------
    error
        What pydantic raised.
    data
        What was validated.
    source
        Where it was read from, if it was.
    root
        Where `data` stands in its document.
    """
    source = source or Source()
    found = [
        (source.line_of((*root, *path)), message, hint)
        for path, message, hint in (
            _describe(item, data, root) for item in error.errors(include_url=False, include_input=False)
        )
    ]
    found.sort(key=lambda item: item[0] or 0)
    line, message, hint = found[0]
    others = [f"line {at}: {text}" if at else text for at, text, _ in found[1 : 1 + _MAX_OTHERS]]
    if others:
        hint = " ".join(filter(None, [hint, "Also: " + "; ".join(others) + "."]))
    return SpecError(message, file=source.file, line=line, hint=hint)
