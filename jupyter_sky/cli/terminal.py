"""The face of a terminal: answers on standard output, everything else on standard error.

So a table or a job's output can be piped while the person still sees questions, progress and errors. Works
without a terminal, without colour, without UTF-8 and with a narrow window.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from jupyter_sky.cli.face import Document, Face, Outcome, Record
from jupyter_sky.errors import NotConfirmedError
from jupyter_sky.sdk.listing import Listing, to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_sky.cli.progress import TerminalReporter
    from jupyter_sky.events import Reporter

#: Control characters but newline and tab.
_DRIVING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: What is written for a sign that the person's locale cannot show.
_PLAIN = {"…": "...", "✔": "*", "✓": "*", "✗": "x", "→": "->", "·": "-", "—": "-"}


class TerminalFace(Face):
    """A person at a terminal, or a program that reads our standard output."""

    def __init__(self, arguments: Sequence[str] = (), *, prefix: str | None = None) -> None:
        super().__init__(arguments)
        if prefix is not None:
            self.prefix = prefix
        self._reporter: TerminalReporter | None = None
        self._mid_line = False

    def answer(self, answer: object) -> None:
        """Write the answer of a command to standard output, as the person asked for it."""
        if answer is None or (isinstance(answer, Outcome) and not self.wants_json):
            return
        if self.wants_json:
            self._write(sys.stdout, json.dumps(plain_data(answer), indent=2, default=str))
        elif isinstance(answer, Listing):
            self.show(answer)
        elif isinstance(answer, (Document, Record)):
            if answer.text or isinstance(answer, Document):
                self._write(sys.stdout, tame(answer.text))
        else:
            self._write(sys.stdout, str(answer))

    def note(self, text: str) -> None:
        """Say a sentence on standard error."""
        self._pause()
        self._write(sys.stderr, tame(self.typed(text)))

    def complain(self, text: str) -> None:
        """Say what went wrong, on standard error, in red where that can be seen."""
        self._pause()
        text = tame(text)
        if may_colour(sys.stderr):
            first, newline, rest = text.partition("\n")
            text = f"\x1b[31m{first}\x1b[0m{newline}{rest}"
        self._write(sys.stderr, text)

    def show(self, answer: Listing[Any]) -> None:
        """Write a table; to standard error where standard output is for JSON."""
        self._pause()
        stream = sys.stderr if self.wants_json else sys.stdout
        width = shutil.get_terminal_size().columns if stream.isatty() else None
        mark = "…" if can_show(stream, "…") else "..."
        self._write(stream, answer.to_text(width=width, colour=may_colour(stream), mark=mark))

    def ask(self, question: str) -> bool:
        """Ask on standard error and read the answer from standard input, which may be a pipe."""
        self._pause()
        while True:
            # Flushed first, so that the table the question is about stands above it.
            sys.stdout.flush()
            sys.stderr.write(f"{question} [Y/n]: ")
            sys.stderr.flush()
            try:
                line = sys.stdin.readline() if sys.stdin is not None else ""
            except KeyboardInterrupt:
                # What is said next must not stand behind the question.
                sys.stderr.write("\n")
                raise
            if not line:
                sys.stderr.write("\n")
                raise NotConfirmedError("Nobody answered the question.", hint="Add -y to say yes beforehand.")
            word = line.strip().lower()
            if word in {"", "y", "yes"}:
                return True
            if word in {"n", "no"}:
                return False
            self._write(sys.stderr, "Please answer y or n.")

    @contextmanager
    def progress(self) -> Iterator[Reporter]:
        """Show phases and log lines on standard error; on a terminal as one line that lives."""
        from jupyter_sky.cli.progress import TerminalReporter

        reporter = TerminalReporter(self._say, live=sys.stderr.isatty() and os.environ.get("TERM") != "dumb")
        self._reporter = reporter
        try:
            yield reporter
        finally:
            self._reporter = None
            reporter.close()

    def stream(self, piece: bytes) -> None:
        """Write a job's output as it is; to standard error where standard output is for JSON."""
        stream = sys.stderr if self.wants_json else sys.stdout
        raw = getattr(stream, "buffer", None)
        if raw is None:
            stream.write(piece.decode(errors="replace"))
        else:
            raw.write(piece)
        stream.flush()
        self._mid_line = stream.isatty() and not piece.endswith(b"\n")

    def _pause(self) -> None:
        if self._mid_line:
            # A job's last line had no end: what we say must not be glued to it.
            self._mid_line = False
            sys.stderr.write("\n")
        if self._reporter is not None:
            self._reporter.pause()

    def _say(self, text: str) -> None:
        self._write(sys.stderr, tame(self.typed(text)))

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        if not can_show(stream, text):
            encoding = stream.encoding or "ascii"
            for sign, plain in _PLAIN.items():
                text = text.replace(sign, plain)
            text = text.encode(encoding, "replace").decode(encoding)
        stream.write(text + "\n")
        stream.flush()


def plain_data(answer: object) -> Any:
    """Give an answer as JSON: a list of objects for a table, an object for anything else."""
    if isinstance(answer, Listing):
        return answer.to_dicts()
    if isinstance(answer, Document):
        return answer.text
    if isinstance(answer, Record):
        return answer.data
    return to_dict(answer)


def tame(text: str) -> str:
    """Show what could drive the terminal (escapes, bells, carriage returns) as text; lines stay lines.

    What a node, a file or another program said may hold anything. Only a job's own output is passed on raw.
    """
    return _DRIVING.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def can_show(stream: TextIO, text: str) -> bool:
    """Say whether a stream's encoding has all signs of a text."""
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def may_colour(stream: TextIO) -> bool:
    """Say whether colour is wanted: on a terminal that has it, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
