"""Starting and shutting down the agents of this machine.

Agents are started side by side from the one zipapp, each with an environment of its own. What we start is
the agent's launcher, which goes to the background by itself and ends with the truth: 0 when the agent
serves, else a sentence that says why not.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from jupyter_sky.agent.daemon import ALREADY_SERVED
from jupyter_sky.errors import InfraError
from jupyter_sky.infra.local.environment import node_environment
from jupyter_sky.infra.local.layout import read_json
from jupyter_sky.infra.local.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_sky.events import Reporter
    from jupyter_sky.infra.local.layout import ClusterFolder, NodeFolder

#: Seconds in which all agents must serve; they need a fraction of one, unless the machine is very busy.
_START_LIMIT = 60.0

#: Seconds between two looks at an agent that someone else has started.
_LOOK = 0.01

#: How much of an agent's log is shown when it did not start, in bytes.
_TAIL = 2000

#: Seconds that a shutdown may take, in which jobs are told to end and have their grace.
_STOP_LIMIT = 60.0


def command(bundle: Path, verb: str, root: Path, *options: str) -> list[str]:
    """Give the command that runs the agent's program; it needs no `site`, and starts sooner without."""
    return [sys.executable, "-I", "-S", str(bundle), verb, "--root", str(root), *options]


def start(nodes: Sequence[NodeFolder], bundle: Path, report: Reporter) -> None:
    """Start the agents of these nodes and return when every one of them serves.

    Raises
    ------
    InfraError
        One ended or did not serve in time; the message has its own words and the tail of its log.
    """
    deadline = time.monotonic() + _START_LIMIT
    launchers: list[subprocess.Popen[bytes]] = []
    try:
        launchers.extend(_launch(node, bundle) for node in nodes)
        for done, (node, launcher) in enumerate(zip(nodes, launchers, strict=True), start=1):
            try:
                _, words = launcher.communicate(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise _not_started(node, f"did not serve within {_START_LIMIT:g} seconds") from None
            if launcher.returncode == ALREADY_SERVED:
                # An attempt that was killed had started it; it is about to serve.
                _await(node, deadline)
            elif launcher.returncode:
                raise _not_started(node, f"did not start: {words.decode(errors='replace').strip()}")
            report.progress(done, len(nodes), "nodes")
    finally:
        for launcher in launchers:
            if launcher.returncode is None:
                launcher.kill()
                launcher.communicate()


def _launch(node: NodeFolder, bundle: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(bundle, "serve", node.path, "--detach"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=node_environment(node.node_id, node.home),
        cwd=node.path,
        start_new_session=True,
    )


def _await(node: NodeFolder, deadline: float) -> None:
    while not Truth().serves(read_json(node.ready)):
        if time.monotonic() > deadline:
            raise _not_started(node, f"did not serve within {_START_LIMIT:g} seconds")
        time.sleep(_LOOK)


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
