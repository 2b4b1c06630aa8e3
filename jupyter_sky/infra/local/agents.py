"""Starting, awaiting and shutting down the agents of this machine.

Agents are started side by side from the one zipapp, each in a session of its own so that it outlives
whoever started it, with an environment of its own. An agent says that it serves by writing `ready.json`;
one that ends instead is reported with the tail of its log.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from jupyter_sky.errors import InfraError
from jupyter_sky.infra.local.environment import node_environment
from jupyter_sky.infra.local.layout import read_json
from jupyter_sky.infra.local.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_sky.events import Reporter
    from jupyter_sky.infra.local.layout import ClusterFolder, NodeFolder

#: Seconds in which all agents must answer; they need a fraction of one, unless the machine is very busy.
_START_LIMIT = 60.0

#: Seconds between two looks for `ready.json`.
_LOOK = 0.005

#: How much of an agent's log is shown when it did not start, in bytes.
_TAIL = 2000

#: Seconds that a shutdown may take in which jobs are told to end and have their grace.
_STOP_LIMIT = 60.0


def command(bundle: Path, verb: str, root: Path, *options: str) -> list[str]:
    """Give the command that runs the agent's program; it needs no `site`, and starts sooner without."""
    return [sys.executable, "-I", "-S", str(bundle), verb, "--root", str(root), *options]


def start(nodes: Sequence[NodeFolder], bundle: Path, report: Reporter) -> None:
    """Start the agents of these nodes and return when every one of them serves.

    Raises
    ------
    InfraError
        One ended or did not answer in time; the message has the tail of its log.
    """
    if not nodes:
        return
    deadline = time.monotonic() + _START_LIMIT
    starting = {node: _spawn(node, bundle) for node in nodes}
    try:
        while starting:
            truth = Truth()
            for node, launcher in list(starting.items()):
                code = launcher.poll()
                if truth.serves(read_json(node.ready)):
                    launcher.wait()
                    del starting[node]
                    report.progress(len(nodes) - len(starting), len(nodes), "nodes")
                elif code:
                    raise _not_started(node, f"ended with exit code {code} when it was started")
            if time.monotonic() > deadline:
                raise _not_started(next(iter(starting)), f"did not answer within {_START_LIMIT:g} seconds")
            time.sleep(_LOOK)
    finally:
        for launcher in starting.values():
            launcher.kill()
            launcher.wait()


def _spawn(node: NodeFolder, bundle: Path) -> subprocess.Popen[bytes]:
    with open(node.log, "ab", opener=_private) as log:
        return subprocess.Popen(
            command(bundle, "serve", node.path, "--detach"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=node_environment(node.node_id, node.home),
            cwd=node.path,
            start_new_session=True,
        )


def shut_down(bundle: Path, folder: ClusterFolder, num_nodes: int) -> None:
    """Have the agents cancel their jobs and end, the head first, because it ends the others.

    An agent that is lost or does not obey is no error here: the caller ends what is left of the cluster next.
    """
    for rank in range(num_nodes):
        node = folder.node(rank)
        if Truth().serves(read_json(node.ready)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    command(bundle, "stop", node.path),
                    env=relay_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=_STOP_LIMIT,
                    check=False,
                )


def relay_environment() -> dict[str, str]:
    """Give the environment of a program that only talks to an agent: nothing that it could leak."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}


def _not_started(node: NodeFolder, what: str) -> InfraError:
    rank = node.node_id.rpartition("-")[2]
    return InfraError(
        f"The agent of node {rank} {what}.{_last_words(node)}",
        hint="If its log does not say why, look at the machine's free memory and processes.",
    )


def _last_words(node: NodeFolder) -> str:
    """Give the end of an agent's log, indented under a message."""
    try:
        with open(node.log, "rb") as log:  # noqa: PTH123 -- the module speaks of this file in one way
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            words = log.read().decode(errors="replace").strip()
    except OSError:
        words = ""
    return "\n  " + "\n  ".join(words.splitlines()) if words else " Its log is empty."


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
