"""The one grammar of commands, and its face in a terminal.

A command is defined once, with click, and does its work through flows and a `Face`; the terminal and the
notebook's `%sky` differ only in the face they give it. Nothing here is imported before it is needed:
`--help` must be instant.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    import sys

    from jupyter_sky.cli.program import run

    sys.exit(run(sys.argv[1:]))
