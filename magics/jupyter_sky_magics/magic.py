"""The magic itself: from the line and the body of a cell to the answer of a command."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)

from jupyter_sky_magics.interpolation import expand

if TYPE_CHECKING:
    from jupyter_sky.cli.face import Face

_WITH_BODY = frozenset({"launch", "exec"})


class SkyCommandError(Exception):
    """A command did not do what it was asked to, told without a traceback.

    It ends the cell like any error, so that `Run all`, nbclient and scripts stop there. `code` is the exit
    code that the same command has in a terminal.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code

    def _render_traceback_(self) -> list[str]:
        first, newline, rest = str(self).partition("\n")
        return [f"\x1b[31m{first}\x1b[0m{newline}{rest}"]


@magics_class
class SkyMagics(Magics):
    """`%sky` and `%%sky`."""

    @output_can_be_silenced
    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def sky(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Run a command of Jupyter Sky: `%sky status`, `%sky launch -c dev task.yaml`.

        With `%%sky launch` and `%%sky exec` the lines below are the task: its YAML, or a shell script.
        `$name` and `{expression}` on the line are replaced by what they are in Python; the lines below stay
        as they are. `%sky --help` lists the commands.
        """
        from jupyter_sky.cli import program

        names = {**(self.shell.user_ns if self.shell else {}), **(local_ns or {})}
        try:
            # A semicolon at the end hides the answer, as everywhere in IPython; it is no part of the command.
            words = shlex.split(expand(line.rstrip().removesuffix(";"), names))
        except ValueError as error:
            raise SkyCommandError(f"error: The line cannot be read: {error}.", 2) from None
        if cell is not None and (not words or words[0] not in _WITH_BODY):
            raise SkyCommandError(
                "error: %%sky takes `launch` or `exec`, with a task or a script below it.\n"
                "hint: Write other commands with one %, as in `%sky status`.",
                2,
            )
        face = self._face(words)
        face.cell = cell
        if os.environ.get(program.DEBUG_VARIABLE):
            return self._answer(face, program.invoke(face))
        try:
            return self._answer(face, program.invoke(face))
        except SkyCommandError:
            raise
        except KeyboardInterrupt:
            raise SkyCommandError("Interrupted.", program.INTERRUPTED) from None
        except Exception as error:  # noqa: BLE001 - the last place before a person would see a traceback
            raise SkyCommandError(*program.explain(error, face)) from None

    def _face(self, words: list[str]) -> Face:
        if hasattr(self.shell, "kernel"):
            from jupyter_sky_magics.notebook import NotebookFace

            return NotebookFace(words)
        from jupyter_sky.cli.terminal import TerminalFace

        return TerminalFace(words, prefix="%sky")

    @staticmethod
    def _answer(face: Face, answer: Any) -> Any:
        from jupyter_sky.cli.face import Outcome
        from jupyter_sky.cli.terminal import plain_data

        if isinstance(answer, Outcome) and answer.failure:
            raise SkyCommandError(answer.failure, answer.exit_code)
        return plain_data(answer) if face.wants_json and answer is not None else answer
