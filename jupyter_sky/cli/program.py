"""One command from its words to its exit code.

Whoever runs commands (a terminal's process, a magic) calls `invoke`; `run` adds what a process owes its
terminal: errors as sentences on standard error, exit codes, and silence when its reader has gone.
"""

from __future__ import annotations

import difflib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from jupyter_sky.cli.face import Outcome
from jupyter_sky.cli.grammar import sky
from jupyter_sky.errors import DetachedError, SkyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.cli.face import Face
    from jupyter_sky.cli.terminal import TerminalFace

#: The variable by which a shell's completion script asks for completions (click's protocol).
COMPLETE_VARIABLE = "_JUPYTER_SKY_COMPLETE"
#: Set to anything, it makes errors show where they come from.
DEBUG_VARIABLE = "JUPYTER_SKY_DEBUG"

INTERRUPTED = 130
_BROKEN_PIPE = 141
_DEFECT = 70


def invoke(face: Face) -> Any:
    """Run the command that a face's arguments say, and give its answer.

    Raises
    ------
    SkyError
        What went wrong, for the person.
    click.ClickException
        The words do not fit the grammar.
    """
    try:
        with sky.make_context(face.prefix, list(face.arguments), obj=face) as ctx:
            return sky.invoke(ctx)
    except click.exceptions.Exit:
        # `--help` and `--version` end this way, after they have written what they say.
        return None


def explain(error: Exception, face: Face) -> tuple[str, int]:
    """Give the text for the person, as it is typed at this face, and the exit code of an error."""
    if isinstance(error, DetachedError):
        # The person's own wish is no error.
        return face.typed(f"{error}\nhint: {error.hint}"), error.exit_code
    if isinstance(error, SkyError):
        return face.typed(_sentence(str(error), error.hint)), error.exit_code
    if isinstance(error, click.UsageError):
        hint = None
        if error.ctx is not None:
            hint = f"`{error.ctx.command_path} --help` tells how it is used."
        told = _no_option(error) if isinstance(error, click.NoSuchOption) else error.format_message()
        return _sentence(face.typed(told), hint), 2
    if isinstance(error, click.ClickException):
        return _sentence(error.format_message(), None), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        # A full disk, a folder that may not be read: the system's own words, with the file they are about.
        place = f"{error.filename}: " if error.filename else ""
        return _sentence(f"{place}{error.strerror}.", None), 1
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = f"This is a defect of Jupyter Sky; {DEBUG_VARIABLE}=1 in the environment shows where it is."
    return _sentence(what, hint), _DEFECT


def _no_option(error: click.NoSuchOption) -> str:
    """Name the nearest option, or say how an option is passed on to the command that a task is."""
    parameters = error.ctx.command.get_params(error.ctx) if error.ctx is not None else []
    known = [option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)]
    near = difflib.get_close_matches(error.option_name, known, n=1, cutoff=0.7)
    message = f"There is no option {error.option_name!r}."
    if near:
        return f"{message} Did you mean {near[0]!r}?"
    if any(parameter.name == "entrypoint" for parameter in parameters):
        return f"{message} If it is for the command you run, write -- before that command."
    return message


def _sentence(message: str, hint: str | None) -> str:
    return f"error: {message}\nhint: {hint}" if hint else f"error: {message}"


def run(arguments: Sequence[str]) -> int:
    """Run a command in a terminal and give its exit code."""
    if sys.stdout is None or sys.stderr is None:
        # Started with `>&-`: what nobody can read goes nowhere, and is no reason to fail.
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open until the process ends
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(sky, {}, "jupyter-sky", COMPLETE_VARIABLE, instruction)
    from jupyter_sky.cli.terminal import TerminalFace

    face = TerminalFace(arguments)
    try:
        code = _run(face)
    except BrokenPipeError:
        # The reader has gone, and nobody is left to be told.
        code = _BROKEN_PIPE
    try:
        sys.stdout.flush()
    except OSError as error:
        # What could not be written must not be tried again, and complained of, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or (_BROKEN_PIPE if isinstance(error, BrokenPipeError) else 1)
    return code


def _run(face: TerminalFace) -> int:
    try:
        answer = invoke(face)
        face.answer(answer)
        if not isinstance(answer, Outcome):
            return 0
        if answer.failure:
            face.complain(answer.failure)
        return answer.exit_code
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        face.complain("Interrupted.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place before a person would see a traceback
        if os.environ.get(DEBUG_VARIABLE):
            import traceback

            traceback.print_exc()
        text, code = explain(error, face)
        face.complain(text)
        return code
