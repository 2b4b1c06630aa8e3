"""The agent's command line: `serve`, `relay`, `stop`, `version`.

Each command imports only what it runs. A relay starts for every connection and must be there at once; an
agent that serves one node alone never loads TLS, which would be a third of its memory.
"""

from __future__ import annotations

import sys
from typing import List, Optional

_USAGE = """\
usage: agent serve --root FOLDER [--detach]   serve the node whose folder this is
       agent relay --root FOLDER              join standard input and output with its agent
       agent stop --root FOLDER               end its jobs, its processes and its agent
       agent version                          print the version and the hash of the bundle
"""


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; give the exit code (2: the command line makes no sense)."""
    args = sys.argv[1:] if argv is None else argv
    command = args[0] if args else ""
    if command == "version" and len(args) == 1:
        from .version import VERSION, bundle_hash

        sys.stdout.write(f"{VERSION} {bundle_hash()}\n")
        return 0
    flags = {"--detach"} if command == "serve" else set()
    if (
        command not in ("serve", "relay", "stop")
        or len(args) < 3
        or args[1] != "--root"
        or set(args[3:]) - flags
    ):
        sys.stderr.write(_USAGE)
        return 2
    root = args[2]
    if command == "relay":
        from .relay import relay

        return relay(root)
    if command == "stop":
        from .stopping import stop

        return stop(root)
    from .serving import start

    return start(root, detached="--detach" in args)


if __name__ == "__main__":
    sys.exit(main())
