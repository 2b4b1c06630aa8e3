"""Reading YAML so that everything in it has a line, and nothing in it can hurt.

PyYAML's composer gives nodes with marks; this module turns nodes into plain data itself, so that it can
refuse duplicate keys, tags that make objects, aliases that explode and nesting without end. Differences
from PyYAML's own constructor, all for the sake of texts that look like something else: dates, times and
`22:22` are texts, and what stands under `envs`, `secrets` and `labels` is kept as it is written (`1.10` is
not 1.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import yaml

from jupyter_sky.errors import SpecError
from jupyter_sky.spec.problems import Path, Source, quote

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

MAX_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 64
_MAX_NODES = 50_000
_TEXT_SECTIONS = frozenset({"envs", "secrets", "labels"})
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-f_]+|0o[0-7_]+|0|[1-9][0-9_]*)", re.IGNORECASE)
_DECIMAL = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[-+]?\d+)?", re.IGNORECASE)
_MAX_DIGITS = 400


@dataclass(slots=True)
class Document:
    """One YAML document: its data, and where everything in it stands."""

    data: Any
    source: Source


class _RefusedError(Exception):
    """Something in the text that is not taken, with its line (from 1)."""

    def __init__(self, message: str, line: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with a bound on nesting; its constructor is not used."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _RefusedError(f"is nested deeper than {_MAX_DEPTH} levels", self.line + 1)
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
        finally:
            self.depth -= 1
        return node


@dataclass(slots=True)
class _Builder:
    """Turns the nodes of one document into plain data and notes their lines."""

    lines: dict[Path, int] = field(default_factory=dict)
    key_lines: dict[Path, int] = field(default_factory=dict)
    nodes: int = 0

    def build(self, node: Any, path: Path = ()) -> Any:
        line = node.start_mark.line + 1
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise _RefusedError(
                f"the document holds more than {_MAX_NODES} values once aliases are filled in", line
            )
        if len(path) > _MAX_DEPTH:
            raise _RefusedError(f"is nested deeper than {_MAX_DEPTH} levels, or holds itself", line)
        self.lines[path] = line
        if isinstance(node, yaml.MappingNode):
            self._check_tag(node, {"map", "set"})
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, {"seq"})
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node, as_text=len(path) > 1 and path[-2] in _TEXT_SECTIONS)

    @staticmethod
    def _check_tag(node: yaml.Node, allowed: set[str]) -> None:
        if node.tag.removeprefix(_TAG) not in allowed or not node.tag.startswith(_TAG):
            raise _RefusedError(
                f"the tag {quote(node.tag)} is not allowed in a task", node.start_mark.line + 1
            )

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _RefusedError("a key must be a text, not a list or a mapping", line, _TEMPLATE_HINT)
            if key_node.tag == f"{_TAG}merge":
                for key, value in self._merge(value_node, path):
                    merged.setdefault(key, value)
                continue
            key = _clean(key_node)
            if key in own:
                first = self.key_lines[*path, key]
                raise _RefusedError(
                    f"the key {quote(key)} stands here a second time; the first is on line {first}", line
                )
            self.key_lines[*path, key] = line
            own[key] = self.build(value_node, (*path, key))
        return own | {key: value for key, value in merged.items() if key not in own}

    def _merge(self, node: yaml.Node, path: Path) -> Iterator[tuple[str, Any]]:
        """Give the keys of what `<<` names; the first of several wins."""
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(item, yaml.MappingNode):
                raise _RefusedError("'<<' needs a mapping, or a list of mappings", node.start_mark.line + 1)
            inner = _Builder(nodes=self.nodes)
            data = inner.build(item, path)
            self.nodes = inner.nodes
            for mine, theirs in ((self.lines, inner.lines), (self.key_lines, inner.key_lines)):
                for place, line in theirs.items():
                    mine.setdefault(place, line)
            yield from data.items()


_TEMPLATE_HINT = "Put texts that begin with { or [ in quotes."


def _clean(node: yaml.ScalarNode) -> str:
    """Give the text of a scalar, if files, environments and JSON can carry it."""
    value = str(node.value)
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise _RefusedError(
            "a text holds a character that cannot be stored (NUL or half a character)", _line(node)
        )
    return value


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: yaml.ScalarNode, *, as_text: bool) -> Any:
    value = _clean(node)
    tag = node.tag.removeprefix(_TAG)
    if tag == "null":
        return None
    if as_text or tag in {"str", "timestamp", "value", "merge"}:
        return value
    folded = value.lower()
    if tag == "bool" and folded in {"true", "yes", "on", "false", "no", "off"}:
        return folded in {"true", "yes", "on"}
    if tag in {"int", "float"} and len(value) <= _MAX_DIGITS:
        if _INTEGER.fullmatch(value):
            return int(value.replace("_", ""), 0)
        if tag == "float" and folded.lstrip("+-") in {".inf", ".nan"}:
            return float(folded.replace(".", ""))
        if tag == "float" and _DECIMAL.fullmatch(value):
            return float(value.replace("_", ""))
        if ":" in value or (tag == "int" and re.fullmatch(r"[-+]?[\d_]+", value)):
            return value
    if tag in {"int", "float"} and len(value) > _MAX_DIGITS:
        raise _RefusedError("a number has more digits than any number a task needs", _line(node))
    raise _RefusedError(
        f"the tag {quote(node.tag)} does not fit the value that it stands before", _line(node)
    )


_QUOTED = re.compile(r"'([^']*)'")
#: What PyYAML quotes in its messages and is no text of the person's.
_MARKS = frozenset(",:-?[]{}|>%@`&*!") | {"<document start>", "<stream end>", "<block end>", "<scalar>"}


def _syntax_error(error: yaml.YAMLError) -> tuple[str, int | None, str | None]:
    """Word a syntax error without repeating what stands in the text, which may be a secret."""
    if isinstance(error, yaml.reader.ReaderError):
        code = error.character if isinstance(error.character, int) else ord(error.character)
        return f"the character U+{code:04X} is not allowed in YAML", None, None
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be understood"
    hint = None
    if r"'\t'" in problem:
        problem, hint = "a tab stands where YAML wants spaces", "Indent with spaces."
    elif problem.startswith("mapping values are not allowed"):
        hint = "Put a text that holds ': ' in quotes, and check the indentation."
    elif problem.startswith("expected <block end>"):
        hint = "Check the indentation of this line and of those above it."
    elif problem.startswith("expected ',' or"):
        hint = "Inside { } and [ ], put a text that holds one of , { } [ ] in quotes."
    problem = _QUOTED.sub(lambda match: match[0] if match[1] in _MARKS else "...", problem)
    return f"this is not valid YAML: {problem}", mark.line + 1 if mark else None, hint


def load_documents(text: str, file: str | None = None) -> list[Document]:
    """Read every document of a YAML text.

    Parameters
    ----------
    text
        The YAML.
    file
        What to call it in errors.

    Returns
    -------
    list of Document
        Empty documents are left out.

    Raises
    ------
    SpecError
        With the file and the line, for everything that is wrong with the text.
    """
    if len(text) > MAX_BYTES:
        raise SpecError(f"a task of more than {MAX_BYTES >> 20} MiB is not read", file=file, line=1)
    found: list[Document] = []
    loader: _Composer | None = None
    try:
        loader = _Composer(text)
        while loader.check_node():
            node = loader.get_node()
            builder = _Builder()
            data = builder.build(node)
            if data is not None:
                found.append(Document(data, Source(file, builder.lines, builder.key_lines)))
    except _RefusedError as error:
        raise SpecError(str(error), file=file, line=error.line, hint=error.hint) from None
    except yaml.YAMLError as error:
        message, line, hint = _syntax_error(error)
        if isinstance(error, yaml.reader.ReaderError):
            line = text.count("\n", 0, error.position) + 1
        raise SpecError(message, file=file, line=line or 1, hint=hint) from None
    except (ValueError, OverflowError):
        # PyYAML's scanner turns an escape such as "\UFFFFFFFF" into a character without looking.
        line = loader.line + 1 if loader else 1
        raise SpecError("an escape in a text is no character", file=file, line=line) from None
    finally:
        if loader is not None:
            loader.dispose()
    return found


def load_some_documents(text: str, file: str | None = None) -> list[Document]:
    """Do what `load_documents` does; a text without a document in it is an error too."""
    documents = load_documents(text, file)
    if not documents:
        raise SpecError(
            "there is no task in it",
            file=file,
            line=1,
            hint="A task is a mapping, such as 'run: nvidia-smi'.",
        )
    return documents


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file of a person.

    Raises
    ------
    SpecError
        If it is not there, is a folder, cannot be read, is too large or is not UTF-8 (with the line).
    """
    shown = str(path)
    try:
        place = FilePath(path).expanduser()
        with place.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise SpecError("is a folder, not a file", file=shown, hint="Name the file inside it.") from None
    except FileNotFoundError:
        raise SpecError("there is no such file", file=shown) from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"cannot be read: {reason}", file=shown) from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"is larger than {MAX_BYTES >> 20} MiB", file=shown, line=1)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError("is not a UTF-8 text", file=shown, line=line, hint="Save it as UTF-8.") from None
