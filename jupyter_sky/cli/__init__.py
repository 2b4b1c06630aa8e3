"""The one grammar of commands, and its face in a terminal.

A command is defined once, with click, and does its work through flows and a `Face`; the terminal and the
notebook's `%sky` differ only in the face they give it. Nothing here is imported before it is needed:
`--help` must be instant.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    import sys

    try:
        from jupyter_sky.cli.program import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before the first command could have begun, or after the last has ended.
        code = 130
    sys.exit(code)
