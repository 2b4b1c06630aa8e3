"""Completion behind `%sky`: commands, options, clusters, jobs, paths.

The same answers as a shell's completion, asked of the same grammar, given to IPython's matcher interface,
which serves the terminal and a kernel's `complete_request` alike.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from IPython.core.interactiveshell import InteractiveShell

#: A line magic may stand behind an assignment; only a cell's first line may hold a cell magic.
_MAGIC = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?%%?sky\s+(?P<rest>.*)$")


@context_matcher(identifier="jupyter_sky")  # type: ignore[untyped-decorator] # IPython gives it no types
def sky_matcher(context: CompletionContext) -> SimpleMatcherResult:
    """Complete the word before the cursor if the line is one of ours."""
    lines = context.full_text.split("\n")
    number = context.cursor_line
    before = lines[number][: context.cursor_position] if number < len(lines) else ""
    match = _MAGIC.match(before)
    if match is None:
        return SimpleMatcherResult(completions=[])
    words, incomplete = split(match["rest"])
    found = [
        SimpleCompletion(text=_typed(item.value, incomplete), type="magic")
        for item in complete(words, incomplete)
    ]
    return SimpleMatcherResult(completions=found, matched_fragment=incomplete, suppress=True, ordered=True)


def split(rest: str) -> tuple[list[str], str]:
    """Split what stands behind `%sky` into whole words and the one that is being typed."""
    fragment = "" if not rest or rest[-1].isspace() else rest.rsplit(maxsplit=1)[-1]
    head = rest[: len(rest) - len(fragment)]
    try:
        return shlex.split(head), fragment
    except ValueError:
        # A quote is still open: nothing sensible can be completed inside it.
        return head.split(), fragment


def complete(words: list[str], incomplete: str) -> list[CompletionItem]:
    """Ask the grammar what may stand where the cursor is."""
    from click.shell_completion import ShellComplete

    from jupyter_sky.cli.complete import paths
    from jupyter_sky.cli.grammar import sky
    from jupyter_sky.cli.program import COMPLETE_VARIABLE

    _, equals, value = incomplete.partition("=")
    asked = ShellComplete(sky, {}, "%sky", COMPLETE_VARIABLE)
    found: list[CompletionItem] = []
    for item in asked.get_completions(words, incomplete):
        if item.type in {"file", "dir"}:
            found.extend(paths(value if equals else incomplete, folders_only=item.type == "dir"))
        else:
            found.append(item)
    return found


def _typed(value: str, incomplete: str) -> str:
    """Give a completion as it replaces the word; click gives only what stands behind `--option=`."""
    option, equals, _ = incomplete.partition("=")
    if equals and option.startswith("--") and not value.startswith(option):
        return f"{option}={value}"
    return value


def install(shell: InteractiveShell) -> None:
    """Let a shell ask us too."""
    matchers = _matchers(shell)
    if sky_matcher not in matchers:
        matchers.insert(0, sky_matcher)


def remove(shell: InteractiveShell) -> None:
    """Let a shell ask us no more."""
    matchers = _matchers(shell)
    if sky_matcher in matchers:
        matchers.remove(sky_matcher)


def _matchers(shell: InteractiveShell) -> list[Any]:
    matchers: list[Any] = shell.Completer.custom_matchers
    return matchers
