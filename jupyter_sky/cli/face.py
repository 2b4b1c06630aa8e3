"""What a command may ask of whoever typed it: a question answered, progress shown, output written.

Commands know only this. A terminal and a notebook each implement it, and a command is therefore the same in
both. A face decides nothing: it shows what it is given.
"""

from __future__ import annotations

import re
import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from jupyter_sky.events import Reporter
    from jupyter_sky.sdk.listing import Listing

_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command that ran or watched a job ended with.

    `status` is the job's state as last seen, None where no job was watched. `exit_code` is the command's;
    `failure` says why, where the command must not pass for a success (a notebook then stops).
    """

    cluster_name: str
    job_id: int | None = None
    status: str | None = None
    operation_id: str | None = None
    exit_code: int = 0
    failure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the outcome as a JSON object."""
        return {
            "cluster_name": self.cluster_name,
            "job_id": self.job_id,
            "status": self.status,
            "operation_id": self.operation_id,
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        what = (
            f"job {self.job_id} on cluster {self.cluster_name}"
            if self.job_id
            else f"cluster {self.cluster_name}"
        )
        return f"{what}: {self.status}" if self.status else what

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        printer.text(str(self))


@dataclass(frozen=True, slots=True)
class Document:
    """A text that is the whole answer of a command: a schema, a script, a log."""

    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        printer.text(self.text)


@dataclass(frozen=True, slots=True)
class Record:
    """What a program that asks with `-o json` is told; `text` is the answer for a person, if any is due."""

    data: Any
    text: str = ""

    def __str__(self) -> str:
        return self.text

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        printer.text(self.text)


class Face(ABC):
    """The person at the other end of a command."""

    #: How a command is typed here: `jupyter sky` or `%sky`.
    prefix = "jupyter sky"
    #: The body of a `%%sky` cell, None elsewhere.
    cell: str | None = None

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.arguments = list(arguments)
        self.output = "table"

    @property
    def wants_json(self) -> bool:
        """Whether the answer must be JSON, and nothing else may be mixed into it."""
        return self.output == "json"

    @property
    def command_line(self) -> str:
        """What was typed, without the values of secrets, as `status` remembers it."""
        return " ".join([self.prefix, shlex.join(without_secrets(self.arguments))])

    def typed(self, text: str) -> str:
        """Rewrite the commands that a message names (`` `jupyter sky …` ``) as they are typed here."""
        return re.sub(r"(?<=`)jupyter sky(?= )", lambda _: self.prefix, text)

    @abstractmethod
    def note(self, text: str) -> None:
        """Say a sentence that is not part of the answer."""

    @abstractmethod
    def show(self, answer: Listing[Any]) -> None:
        """Show a table now, before the command has ended."""

    @abstractmethod
    def ask(self, question: str) -> bool:
        """Ask a yes-or-no question, yes being the default.

        Raises
        ------
        NotConfirmedError
            There is nobody who could answer.
        """

    @abstractmethod
    def progress(self) -> AbstractContextManager[Reporter]:
        """Show what is heard while the context is open."""

    @abstractmethod
    def stream(self, piece: bytes) -> None:
        """Write a piece of a job's output."""


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Hide what stands behind `--secret NAME=`."""
    safe: list[str] = []
    for word in arguments:
        if safe and safe[-1] == "--secret":
            name, equals, _ = word.partition("=")
            safe.append(f"{name}={_HIDDEN}" if equals else name)
        elif word.startswith("--secret="):
            name, equals, _ = word.removeprefix("--secret=").partition("=")
            safe.append(f"--secret={name}={_HIDDEN}" if equals else word)
        else:
            safe.append(word)
    return safe
