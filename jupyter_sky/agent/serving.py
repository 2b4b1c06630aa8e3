"""How an agent comes to life: its node's description, the lock, the log, and only then the event loop."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict

from .daemon import Launcher, detach, lock_root
from .journal import Journal
from .node import NodeError, load_node


def start(root: str, *, detached: bool) -> int:
    """Serve the node in `root` until it is ended, in the background if asked; give the exit code."""
    root = os.path.abspath(root)
    launcher = detach() if detached else Launcher()
    try:
        node = load_node(root)
        # Held as long as this process lives; nothing reads it.
        _lock = lock_root(root)
        journal = Journal(node.path("agent.log"), take_stdio=detached)
    except NodeError as error:
        launcher.tell(error.exit_code, str(error))
        return error.exit_code
    except OSError as error:
        launcher.tell(1, f"{root} cannot be served: {error}")
        return 1
    if node.tls is None:
        _leave_out_ssl()
    from .server import serve

    return serve(node, journal, launcher)


def _leave_out_ssl() -> None:
    """Keep asyncio from loading OpenSSL, several megabytes that a node without peers never uses.

    A module that is None in `sys.modules` is one that cannot be imported, and asyncio gets along without this
    one on every version of Python: not every Python is built with it.
    """
    modules: Dict[str, Any] = sys.modules
    modules.setdefault("ssl", None)
