"""Every command that a document shows can be typed: it is parsed by the grammar that the commands use."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
import nbformat
import pytest

from jupyter_sky.cli.grammar import sky

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = ROOT / "examples"

#: A command at the start of a line, after a prompt, or in a comment of an example; or whole inside backticks.
TYPED = re.compile(r"^(?:# +)?(?:\$ |In \[\d*\]: )?(?:jupyter[ -]sky|%%?sky) +(\S.*)$")
SPANS = re.compile(r"`(?:jupyter[ -]sky|%%?sky) +([^`]+)`")
#: `$(…)`, `|` and what a reader must fill in make it a pattern, not a command.
PATTERN = re.compile(r"…|\.\.\.|\||\$\(|\bCOMMAND\b")
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")


@dataclass(frozen=True)
class Shown:
    """One command and where it stands."""

    place: str
    words: str

    def __str__(self) -> str:
        return f"{self.place}: {self.words}"


def commands_of(text: str, name: str) -> list[Shown]:
    """Find the commands in a text, joining lines that end in a backslash."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        whole = line
        following = number
        while whole.endswith("\\") and following < len(lines):
            whole = whole[:-1] + lines[following].strip()
            following += 1
        words = [match[1] for match in [TYPED.match(whole)] if match] or SPANS.findall(line)
        found += [Shown(f"{name}:{number}", each.strip()) for each in words if not PATTERN.search(each)]
    return found


def all_commands() -> list[Shown]:
    """Find every command of the documents and the examples."""
    shown = []
    for path in [*DOCUMENTS, *sorted(EXAMPLES.glob("*.yaml"))]:
        shown += commands_of(path.read_text(), str(path.relative_to(ROOT)))
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        shown += commands_of(cell.source, f"examples/quickstart.ipynb:{cell.id}")
    return shown


def parse(words: list[str]) -> None:
    """Parse a command down to its last option, without running it."""
    command: click.Command = sky
    context = None
    rest = words
    while True:
        context = command.make_context(command.name or "sky", list(rest), parent=context)
        if not isinstance(command, click.Group):
            return
        remaining = (
            [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        )
        if not remaining:
            return
        _, found, rest = command.resolve_command(context, remaining)
        assert found is not None
        command = found


@pytest.mark.parametrize("shown", all_commands(), ids=str)
def test_a_documented_command_can_be_typed(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    try:
        parse(shlex.split(shown.words, comments=True))
    except click.exceptions.Exit:
        pass  # --help and --version
    except click.ClickException as error:
        pytest.fail(f"{shown}: {error.format_message()}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    dead = [target for target in LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert not dead


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    missing = [
        page.name
        for page in (ROOT / "docs").glob("*.md")
        if page.name != "index.md" and f"({page.name})" not in index
    ]
    assert not missing


def test_every_command_is_documented() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    undocumented = [name for name in sky.list_commands(click.Context(sky)) if f"sky {name}" not in text]
    assert not undocumented
