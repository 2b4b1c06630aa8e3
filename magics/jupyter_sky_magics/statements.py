"""Answers of `%sky` lines that do not end their cell.

IPython shows what the last expression of a cell gives, and nothing else. A person who writes `%sky status`
above other lines wants to see the table all the same. So a line that stands for itself, wherever it is (in
the middle of a cell, in a loop), is made to display its answer; one whose value is assigned or used is left
as it is, and so is a cell's last line, whose answer IPython shows.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_RUNNERS = frozenset({"run_line_magic", "run_cell_magic"})


class ShowAnswers(ast.NodeTransformer):
    """Rewrites the statements of a cell (IPython's `ast_transformers`)."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Rewrite a whole cell, except for what IPython shows by itself."""
        last = node.body[-1] if node.body else None
        everything = self._shell.ast_node_interactivity == "all"
        node.body = [
            statement
            if isinstance(statement, ast.Expr) and (everything or statement is last)
            else self.visit(statement)
            for statement in node.body
        ]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Hand the answer of a `%sky` line that stands for itself to `show`."""
        call = node.value
        if not (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in _RUNNERS
            and call.args
            and isinstance(call.args[0], ast.Constant)
            and call.args[0].value == "sky"
        ):
            return node
        # Named by its module, since the person's names may mean anything.
        shower = ast.parse(f"__import__({__name__!r}, fromlist=['show']).show", mode="eval").body
        shown = ast.Call(func=shower, args=[call], keywords=[])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(shown), node))


def show(answer: Any) -> None:
    """Display an answer that would be lost; how a job ended was told while it was watched."""
    from IPython.display import display

    from jupyter_sky.cli.face import Outcome

    if answer is not None and not isinstance(answer, Outcome):
        display(answer)  # type: ignore[no-untyped-call] # IPython gives it no types


def install(shell: InteractiveShell) -> None:
    """Show answers in a shell's cells; again does nothing more."""
    if not any(isinstance(one, ShowAnswers) for one in shell.ast_transformers):
        shell.ast_transformers.append(ShowAnswers(shell))


def remove(shell: InteractiveShell) -> None:
    """Leave a shell's cells as they are again."""
    shell.ast_transformers[:] = [one for one in shell.ast_transformers if not isinstance(one, ShowAnswers)]
