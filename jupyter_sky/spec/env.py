"""Variables as a command line gives them: `--env`, `--env-file`, `--secret`, `--secret-file`.

A file follows the rules that dotenv files share: `NAME=value` lines, `export` before them, comments, single
quotes (nothing inside is special), double quotes (escapes, `${NAME}`), values over several lines inside
quotes. A value is never repeated in an error, because it may be a secret.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from jupyter_sky.errors import SpecError
from jupyter_sky.spec.loader import read_text
from jupyter_sky.spec.problems import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME_RULE = "a name is letters, digits and underscores, and begins with no digit"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", re.ASCII)
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=#]+)[ \t]*(=[ \t]*)?")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_TRAILING = re.compile(r"[ \t]*(#[^\n]*)?(?:\r?\n|\r|$)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "'": "'", "\n": ""}


def is_env_name(name: str) -> bool:
    """Tell whether `name` can name an environment variable of a task."""
    return _NAME.fullmatch(name) is not None


def parse_env_option(
    option: str, *, environ: Mapping[str, str] | None = None, what: str = "--env"
) -> tuple[str, str]:
    """Read one `--env` or `--secret`.

    Parameters
    ----------
    option
        `NAME=value`, or `NAME` to take the value from this process's environment.
    environ
        That environment, if it is not `os.environ`.
    what
        The option's name, for errors.

    Returns
    -------
    tuple
        The name and the value.

    Raises
    ------
    SpecError
        If the name is none, or it is to be taken from the environment and is not there.
    """
    name, equals, value = option.partition("=")
    name = name.strip()
    if not is_env_name(name):
        shown = f": {quote(name)}" if equals else ""
        raise SpecError(
            f"{what} has no usable name{shown}; {NAME_RULE}", hint=f"Write it as {what} NAME=value."
        )
    if equals:
        if "\0" in value:
            raise SpecError(f"{what} {name}: the value holds a NUL character")
        return name, value
    environ = os.environ if environ is None else environ
    if name not in environ:
        raise SpecError(
            f"{what} {name} takes the value from this environment, where {name} is not set",
            hint=f"Write {what} {name}=value, or export {name} first.",
        )
    return name, environ[name]


def parse_env_file(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Read the file of an `--env-file` or a `--secret-file`.

    Parameters
    ----------
    path
        The file.
    environ
        Where a name without a value, and a `${NAME}` that the file has not given, come from; by default
        `os.environ`.

    Raises
    ------
    SpecError
        With the file and the line, for everything that is wrong with it.
    """
    return _EnvFile(read_text(path), str(path), os.environ if environ is None else environ).parse()


class _EnvFile:
    """The text of one dotenv file and how far it was read."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self._text = text
        self._file = file
        self._environ = environ
        self._at = 0
        self._found: dict[str, str] = {}

    def parse(self) -> dict[str, str]:
        while self._at < len(self._text):
            end = self._line_end()
            line = self._text[self._at : end]
            if not line.strip() or line.lstrip().startswith("#"):
                self._at = end + 1
            else:
                self._assignment()
        return self._found

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _error(self, message: str, *, hint: str | None = None, at: int | None = None) -> SpecError:
        line = self._text.count("\n", 0, self._at if at is None else at) + 1
        return SpecError(message, file=self._file, line=line, hint=hint)

    def _assignment(self) -> None:
        match = _ASSIGNMENT.match(self._text, self._at, self._line_end())
        if match is None or not is_env_name(match[1]):
            raise self._error(f"this line has no usable name; {NAME_RULE}", hint="Write lines as NAME=value.")
        name = match[1]
        if match[2] is None:
            rest = self._text[match.end() : self._line_end()]
            if rest.strip() and not rest.lstrip().startswith("#"):
                raise self._error("there is no '=' on this line", hint="Write lines as NAME=value.")
            if name not in self._environ:
                raise self._error(
                    "this line has a name and no value, and this environment has none for it either",
                    hint="Write it as NAME=value; a value of several lines stands in quotes.",
                )
            value = self._environ[name]
            self._at = self._line_end() + 1
        else:
            start, self._at = self._at, match.end()
            value = self._value(name, start)
        if "\0" in value:
            raise self._error(f"the value of {name} holds a NUL character", at=match.start())
        self._found[name] = value

    def _value(self, name: str, start: int) -> str:
        opening = self._text[self._at : self._at + 1]
        if opening and opening in "'\"":
            return self._quoted(name, opening, start)
        end = self._line_end()
        value = _COMMENT.sub("", self._text[self._at : end]).strip()
        self._at = end + 1
        return self._expand(value, start)

    def _quoted(self, name: str, opening: str, start: int) -> str:
        pattern = r"'([^']*)'" if opening == "'" else r'"((?:[^"\\]|\\.)*)"'
        match = re.compile(pattern, re.DOTALL).match(self._text, self._at)
        if match is None:
            raise self._error(f"the quote that begins the value of {name} is never closed", at=start)
        rest = _TRAILING.match(self._text, match.end())
        if rest is None:
            raise self._error(
                f"something stands behind the closing quote of {name}",
                at=match.end(),
                hint='Write a quote inside double quotes as \\".',
            )
        self._at = rest.end() if rest.end() > match.end() else len(self._text)
        return match[1] if opening == "'" else self._unescape(match[1], start)

    def _unescape(self, value: str, start: int) -> str:
        parts = re.split(r"(\\.)", value, flags=re.DOTALL)
        done = [
            _ESCAPES.get(part[1:], part) if index % 2 else self._expand(part, start)
            for index, part in enumerate(parts)
        ]
        return "".join(done)

    def _expand(self, value: str, start: int) -> str:
        def replace(match: re.Match[str]) -> str:
            known = self._found.get(match[1], self._environ.get(match[1]))
            if known is not None:
                return known
            if match[2] is not None:
                return match[2]
            raise self._error(
                f"${{{match[1]}}} is used and is not set",
                at=start,
                hint="Put the value in single quotes to keep it as it is.",
            )

        return _REFERENCE.sub(replace, value)
