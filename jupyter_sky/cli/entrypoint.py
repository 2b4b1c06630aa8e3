"""From the words behind `launch` and `exec` to a task: a task file, a command, or the body of a cell.

Decides only which of them it is; what a task file means is `jupyter_sky.spec`'s business.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_sky.errors import SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.spec import Task

_SUFFIXES = (".yaml", ".yml")
#: A word that a shell may read as it is: plain signs, a variable in plain signs, or one of the shell's own
#: words.
_PLAIN_WORD = re.compile(r"(?:[A-Za-z0-9_@%+=:,./~^-]|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?)+")
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>", "&>"})
_KEY_LINE = re.compile(r"""["']?([A-Za-z_][A-Za-z0-9_-]*)["']?\s*:(?:\s|$)""")
#: The options on a shell's `#!` line that `set` understands alike.
_SHELL_FLAGS = re.compile(r"-[eux]+")
_SHELLS = frozenset({"sh", "bash", "dash", "ash"})


def task_of(words: Sequence[str], *, cell: str | None, env: dict[str, str], secrets: dict[str, str]) -> Task:
    """Give the task that was typed.

    Parameters
    ----------
    words
        One path of a task file; or a command, as one quoted text or as words; or nothing.
    cell
        The body of a `%%sky` cell, instead of words.
    env, secrets
        What `--env` and `--secret` said, for the variables that a file leaves open.
    """
    if cell is not None:
        if words:
            raise UsageError(
                f"The cell already says what to run, so {shlex.join(words)!r} cannot be run too.",
                hint="Leave out either the words on the first line or the lines below it.",
            )
        return _task_of_cell(cell, env, secrets)
    if len(words) == 1 and (words[0] == "-" or _names_a_file(words[0])):
        return _task_of_file(words[0], env, secrets)
    if words and _names_a_file(words[0]) and Path(words[0]).is_file():
        raise UsageError(
            f"{words[0]!r} is a task file, and {shlex.join(words[1:])!r} stands behind it.",
            hint="A task file stands alone; give it values with --env NAME=VALUE.",
        )
    if len(words) == 1 and not any(char.isspace() for char in words[0]) and Path(words[0]).is_dir():
        raise UsageError(
            f"{words[0]!r} is a folder, neither a task file nor a command.",
            hint="Name the task file in it; --workdir sends a folder.",
        )
    return _task_of_command(command_text(words), env, secrets)


def _names_a_file(word: str) -> bool:
    return word.endswith(_SUFFIXES) and not any(char.isspace() for char in word)


def _task_of_file(word: str, env: dict[str, str], secrets: dict[str, str]) -> Task:
    from jupyter_sky.spec import Task

    if word == "-":
        return Task.from_yaml_str(sys.stdin.read(), file="<stdin>", env=env, secrets=secrets)
    path = Path(word).expanduser()
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "there is no such file"
        raise SpecError(
            f"The task file {word!r} cannot be read: {found} ({path.absolute()}).", hint=_near(path)
        )
    return Task.from_yaml(str(path), env=env, secrets=secrets)


def _near(path: Path) -> str:
    try:
        # Compared without their endings, which would make any two task files look alike.
        beside = {file.stem: file for file in path.parent.iterdir() if file.name.endswith(_SUFFIXES)}
    except OSError:
        beside = {}
    near = difflib.get_close_matches(path.stem, beside, n=1)
    if near:
        return f"Did you mean {str(path.with_name(beside[near[0]].name))!r}?"
    return "Paths are relative to the present folder. A command that ends in .yaml must stand behind `sh -c`."


def _task_of_command(text: str | None, env: dict[str, str], secrets: dict[str, str]) -> Task:
    from jupyter_sky.spec import Task

    return Task(run=text, envs=env or None, secrets=secrets or None)


def command_text(words: Sequence[str]) -> str | None:
    """Write words as one command of a shell on the node.

    One word is a script and stays as it is. Of several, each stays one word on the node, except that
    variables (`$HOME`), a leading `~` and the shell's own words (`&&`, `|`, `>`) are the node's shell's to
    read.
    """
    if not words:
        return None
    if len(words) == 1:
        return words[0]
    return " ".join(
        word if word in _SHELL_WORDS or _PLAIN_WORD.fullmatch(word) else shlex.quote(word) for word in words
    )


def _task_of_cell(body: str, env: dict[str, str], secrets: dict[str, str]) -> Task:
    from jupyter_sky.spec import Task

    if is_task_yaml(body):
        # The body begins on the cell's second line: with an empty line before it, errors name the cell's
        # line.
        return Task.from_yaml_str("\n" + body, file="<cell>", env=env, secrets=secrets)
    if not body.strip():
        raise UsageError(
            "The cell is empty.", hint="Write a task's YAML or a shell script below the first line."
        )
    return _task_of_command(script_text(body), env, secrets)


def is_task_yaml(body: str) -> bool:
    """Say whether a cell's body is a task's YAML rather than a script.

    It is where its first line that says something is a task's key (`run:`), however wrong the rest; or
    where the whole is a mapping with at least one such key, so that a typing error in the first key is told
    as one.
    """
    if body.startswith("#!"):
        return False
    lines = (
        line
        for line in body.splitlines()
        if line.strip() and not line.lstrip().startswith("#") and line != "---"
    )
    match = _KEY_LINE.match(next(lines, ""))
    if match is None:
        return False
    from jupyter_sky.spec import task_keys

    known = task_keys()
    if match[1] in known:
        return True
    import yaml

    try:
        document = next(iter(yaml.safe_load_all(body)), None)
    except yaml.YAMLError:
        return False
    return isinstance(document, dict) and not known.isdisjoint(map(str, document))


def script_text(body: str) -> str:
    """Give what a node's shell must run for a cell's script, honouring its `#!` line."""
    first, _, rest = body.partition("\n")
    if not first.startswith("#!"):
        return body
    try:
        interpreter = shlex.split(first[2:])
    except ValueError as error:
        raise SpecError(f"The `#!` line cannot be read: {error}.", file="<cell>", line=2) from error
    if not interpreter:
        raise SpecError("The `#!` line names no program.", file="<cell>", line=2)
    if Path(interpreter[0]).name == "env" and len(interpreter) > 1:
        program, options = interpreter[1], interpreter[2:]
    else:
        program, options = interpreter[0], interpreter[1:]
    if Path(program).name in _SHELLS and all(map(_SHELL_FLAGS.fullmatch, options)):
        return f"set {' '.join(options)}\n{rest}" if options else rest
    mark = "JUPYTER_SKY_CELL_END"
    while mark in body:
        mark += "_"
    ending = "" if body.endswith("\n") else "\n"
    return (
        "script=$(mktemp) || exit\ntrap 'rm -f \"$script\"' EXIT\n"
        f"cat > \"$script\" <<'{mark}'\n{body}{ending}{mark}\n"
        f'{shlex.join(interpreter)} "$script"\n'
    )


def environment(options: Sequence[str], files: Sequence[str], what: str) -> dict[str, str]:
    """Join options like `--env` with files of such lines; options win over files, later over earlier."""
    from jupyter_sky.spec import parse_env_file, parse_env_option

    values: dict[str, str] = {}
    for file in files:
        values.update(parse_env_file(file))
    values.update(parse_env_option(option, what=what) for option in options)
    return values
