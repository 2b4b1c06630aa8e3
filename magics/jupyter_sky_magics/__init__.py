"""`%sky` and `%%sky`: the command grammar of the terminal, typed in a notebook.

Thin by design: words and variables are read here, the command is `jupyter_sky.cli`'s, and only how it is
shown is our own. Loaded by `%load_ext jupyter_sky`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Add the magics and their completion to a shell; again does nothing more."""
    from jupyter_sky_magics import completion, statements
    from jupyter_sky_magics.magic import SkyMagics

    shell.register_magics(SkyMagics)
    completion.install(shell)
    statements.install(shell)


def unload(shell: InteractiveShell) -> None:
    """Take the magics and their completion out again."""
    from jupyter_sky_magics import completion, statements

    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("sky", None)
    completion.remove(shell)
    statements.remove(shell)
