"""What stays at home: the rules of .gitignore, or of .skyignore, which replaces them.

`pathspec` translates each pattern to a regular expression; which pattern decides is settled here, folder
by folder as the walk goes down, because that is how git does it: the last matching pattern of the deepest
file wins, and what is inside an ignored folder is never looked at. So a large ignored folder costs
nothing.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from jupyter_sky.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path, PurePath

    from jupyter_sky.agent.files.scan import Rules

SKYIGNORE = ".skyignore"
GITIGNORE = ".gitignore"
_GIT_EXCLUDE = ".git/info/exclude"
_MAX_LENGTH = 4 << 20
#: pathspec's name for the slash that ends a folder's own name in a pattern.
_FOLDER_MARK = "ps_d"


class _File:
    """The patterns of one ignore file, which apply to paths relative to its folder."""

    def __init__(self, lines: Iterable[str], source: str) -> None:
        from pathspec import GitIgnoreSpec

        try:
            # To git `a/**/` means every folder below `a`; pathspec takes it for `a` itself.
            spec = GitIgnoreSpec.from_lines(
                line + "*/" if line.rstrip().endswith("/**/") else line for line in lines
            )
        except ValueError as error:
            raise SyncError(f"{source} holds a pattern that cannot be understood: {error}") from None
        self._patterns = [
            (pattern.regex, bool(pattern.include))
            for pattern in reversed(list(spec.patterns))
            if pattern.include is not None and pattern.regex is not None
        ]
        # Most paths match nothing: one expression for all patterns says so at once.
        texts = [regex.pattern.replace(f"?P<{_FOLDER_MARK}>", "?:") for regex, _ in self._patterns]
        self._any = re.compile("|".join(f"(?:{text})" for text in texts)) if texts else None

    def decide(self, path: str) -> bool | None:
        """Say whether the last matching pattern ignores the path (a folder ends in a slash), or None."""
        if self._any is None or not self._any.search(path):
            return None
        for regex, include in self._patterns:
            if any(_is_about(match, path) for match in regex.finditer(path)):
                return include
        return None


def _is_about(match: re.Match[str], path: str) -> bool:
    """Tell a match of the path itself from one of a folder above, which was decided before we got here."""
    ends = match.end() == len(path)
    if match.lastgroup == _FOLDER_MARK:
        return ends
    # `a/**` is about all that is in the folder, and not about the folder.
    return not (ends and path.endswith("/"))


class IgnoreRules:
    """The rules of one tree, asked folder by folder, each after its parent."""

    def __init__(self, top: list[_File], *, nested: bool, root: Path) -> None:
        self._root = root
        self._nested = nested
        self._above: dict[str, list[tuple[str, _File]]] = {"": [("", file) for file in top]}

    @classmethod
    def of(cls, root: Path) -> IgnoreRules:
        """Read the rules that apply to the tree at `root`.

        Raises
        ------
        SyncError
            If a rule file cannot be read.
        """
        skyignore = _read(root / SKYIGNORE)
        if skyignore is not None:
            return cls([_File(skyignore, str(root / SKYIGNORE))], nested=False, root=root)
        exclude = _read(root / _GIT_EXCLUDE)
        top = [] if exclude is None else [_File(exclude, str(root / _GIT_EXCLUDE))]
        return cls(top, nested=True, root=root)

    def select(self, folder_fd: int, folder: str, names: dict[str, bool]) -> dict[str, bool]:  # noqa: ARG002  # the scan's interface
        """Give, of the names of one folder (True: itself a folder), those that travel."""
        files = self._above.pop(folder) if folder else self._above[""]
        if self._nested and GITIGNORE in names and not names[GITIGNORE]:
            source = self._root / folder / GITIGNORE
            lines = _read(source)
            if lines is not None:
                prefix = f"{folder}/" if folder else ""
                files = [*files, (prefix, _File(lines, str(source)))]
        start = f"{folder}/" if folder else ""
        kept = {
            name: is_folder
            for name, is_folder in names.items()
            if not _ignored(files, f"{start}{name}/" if is_folder else start + name)
        }
        for name, is_folder in kept.items():
            if is_folder:
                self._above[start + name] = files
        return kept


class WithoutFolder:
    """Leaves out one folder, and asks other rules, if there are any, about the rest.

    Parameters
    ----------
    folder
        The folder, relative to the tree.
    rules
        What decides about the rest; None lets all of it travel.
    """

    def __init__(self, folder: PurePath, rules: Rules | None) -> None:
        self._folder = folder.as_posix()
        self._rules = rules

    def select(self, folder_fd: int, folder: str, names: dict[str, bool]) -> dict[str, bool]:
        """Give, of the names of one folder (True: itself a folder), those that travel."""
        start = f"{folder}/" if folder else ""
        rest = {name: is_folder for name, is_folder in names.items() if start + name != self._folder}
        return rest if self._rules is None else self._rules.select(folder_fd, folder, rest)


def _ignored(files: list[tuple[str, _File]], path: str) -> bool:
    for prefix, file in reversed(files):
        decision = file.decide(path[len(prefix) :])
        if decision is not None:
            return decision
    return False


def _read(path: Path) -> list[str] | None:
    """Read a rule file as lines; None where there is none. git too does not follow a link to one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            data = file.read(_MAX_LENGTH)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        if path.is_symlink():
            return None
        raise SyncError(f"Cannot read the ignore rules in {path}: {error.strerror}.") from None
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
