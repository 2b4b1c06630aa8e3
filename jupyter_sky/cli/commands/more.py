"""`version`, `schema`, `completion`, `ssh-config`: small things about Jupyter Sky itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_sky.cli import complete, options
from jupyter_sky.cli.face import Document, Face
from jupyter_sky.cli.grammar import SkyCommand
from jupyter_sky.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=SkyCommand)
@options.pass_face
def version(_: Face, /) -> Document:
    """Show the version."""
    from jupyter_sky._version import __version__

    return Document(__version__)


@click.command(cls=SkyCommand)
@options.pass_face
def schema(_: Face, /) -> Document:
    """Print the JSON Schema of task files.

    An editor that is given it checks and completes a task while it is written.
    """
    from jupyter_sky.spec import task_json_schema

    return Document(json.dumps(task_json_schema(), indent=2))


@click.command(cls=SkyCommand)
@click.argument("shell", metavar=f"[{'|'.join(_SHELLS)}]", type=click.Choice(_SHELLS), required=False)
@options.pass_face
def completion(_: Face, /, *, shell: str | None) -> Document:
    r"""Print a script that completes commands in your shell.

    \b
    bash:  eval "$(jupyter-sky completion bash)"      in ~/.bashrc
    zsh:   eval "$(jupyter-sky completion zsh)"       in ~/.zshrc
    fish:  jupyter-sky completion fish > ~/.config/fish/completions/jupyter-sky.fish
    """
    from click.shell_completion import get_completion_class

    from jupyter_sky.cli.grammar import sky
    from jupyter_sky.cli.program import COMPLETE_VARIABLE

    if shell is None:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in _SHELLS:
            raise UsageError(
                f"The shell {shell!r} is not one of {', '.join(_SHELLS)}.", hint="Name one of them."
            )
    kind: type[ShellComplete] | None = get_completion_class(shell)
    assert kind is not None
    return Document(kind(sky, {}, "jupyter-sky", COMPLETE_VARIABLE).source())


@click.command(cls=SkyCommand, name="ssh-config")
@click.argument("names", metavar="[CLUSTER]...", nargs=-1, shell_complete=complete.clusters)
@click.option("--install", is_flag=True, help="Make ~/.ssh/config include all clusters, once and for ever.")
@options.pass_face
def ssh_config(face: Face, /, *, names: tuple[str, ...], install: bool) -> Document | None:
    """Make clusters hosts of your ssh.

    Without --install: print what stands in the configuration of clusters (all of them by default).
    """
    from jupyter_sky.flows import clusters, sshconfig

    if install:
        changed = sshconfig.install()
        face.note(
            "✓ ~/.ssh/config includes your clusters." if changed else "~/.ssh/config includes them already."
        )
        return None
    records: list[Any] = clusters.select(names, all_clusters=not names)
    return Document("\n".join(sshconfig.entry(record.name, record.num_nodes) for record in records))


@click.command(cls=SkyCommand, name="ssh-proxy")
@click.argument("cluster", shell_complete=complete.clusters)
@click.option("--rank", type=int, default=0, show_default=True, help="The node, 0 being the head.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=22, show_default=True, help="Its ssh server's port."
)
def ssh_proxy(*, cluster: str, rank: int, port: int) -> None:
    """Join standard input and output to a node's ssh.

    What `ssh-config` makes ssh run; the bytes go through the cluster's link.
    """
    from jupyter_sky.flows import sshproxy

    sshproxy.bridge(cluster, rank=rank, port=port)
