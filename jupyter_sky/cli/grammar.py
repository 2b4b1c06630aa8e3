"""The tree of commands, without the commands.

`SkyGroup` knows of each command where it is defined and its one-line help, so that `--help`, completion and
a typing error cost no import of what they do not run. It knows nothing of what commands do.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is (`module:attribute` under `jupyter_sky.cli.commands`) and what it is for."""

    target: str
    help: str
    section: str = "Commands"
    hidden: bool = False


class SkyCommand(click.Command):
    """A command whose help names commands as they are typed where it is read."""

    def get_help(self, ctx: click.Context) -> str:
        """Write the help."""
        return as_typed(super().get_help(ctx), ctx)


def as_typed(text: str, ctx: click.Context) -> str:
    """Replace the terminal's `jupyter sky` by what the person types before a command."""
    return text.replace("jupyter sky ", f"{ctx.find_root().info_name or 'jupyter sky'} ")


class SkyGroup(click.Group):
    """A group whose commands are imported when they are run.

    Parameters
    ----------
    entries
        The commands by name, in the order in which help lists them.
    """

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        kwargs.setdefault("no_args_is_help", False)
        kwargs.setdefault("invoke_without_command", True)
        super().__init__(*args, callback=_help_if_alone, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's protocol
        """Give the names in the order of help."""
        return [name for name, entry in self.entries.items() if not entry.hidden]

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's protocol
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(import_module(f"jupyter_sky.cli.commands.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or name the nearest one."""
        name = args[0]
        if name not in self.entries and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, self.entries, n=1, cutoff=0.5)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{meant}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Write the help."""
        return as_typed(super().get_help(ctx), ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, from the table alone."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            entry = self.entries[name]
            sections.setdefault(entry.section, []).append((name, entry.help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, from the table alone; options only after a dash."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=self.entries[name].help)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]


@click.pass_context
def _help_if_alone(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from jupyter_sky._version import __version__

        click.echo(f"jupyter-sky {__version__}")
        ctx.exit()


_RUN, _CLUSTERS, _PLACES, _MORE = "Run", "Clusters", "Places and costs", "More"

#: Every command. The help lines are also the first lines of the commands' own help; a test holds them
#: together.
sky = SkyGroup(
    name="sky",
    help="Launch a task anywhere, and see everything about it from here.",
    epilog="`jupyter sky COMMAND --help` tells more about a command.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_version,
            help="Show the version.",
        )
    ],
    entries={
        "launch": Entry("launch:launch", "Make a cluster, or use it, and run a task there.", _RUN),
        "exec": Entry("launch:exec_", "Run a task on a cluster that is up.", _RUN),
        "queue": Entry("jobs:queue", "List the jobs of clusters.", _RUN),
        "logs": Entry("jobs:logs", "Show the log of a job, while it is written.", _RUN),
        "cancel": Entry("jobs:cancel", "Cancel jobs of a cluster.", _RUN),
        "rsync": Entry("rsync:rsync", "Copy files to and from a cluster.", _RUN),
        "status": Entry("clusters:status", "List clusters.", _CLUSTERS),
        "start": Entry("clusters:start", "Start stopped clusters again.", _CLUSTERS),
        "stop": Entry("clusters:stop", "Stop clusters and keep their files.", _CLUSTERS),
        "autostop": Entry("clusters:autostop", "Stop or remove clusters when they are idle.", _CLUSTERS),
        "down": Entry("clusters:down", "Remove clusters with all their files.", _CLUSTERS),
        "ssh-config": Entry("more:ssh_config", "Make clusters hosts of your ssh.", _CLUSTERS),
        "ssh-proxy": Entry("more:ssh_proxy", "Join standard input and output to a node's ssh.", _CLUSTERS),
        "check": Entry("places:check", "Say which infras can be used from here.", _PLACES),
        "gpus": Entry("places:gpus", "See which GPUs there are.", _PLACES),
        "show-gpus": Entry("places:show_gpus", "List GPUs; the same as `gpus list`.", _PLACES),
        "cost-report": Entry("places:cost_report", "List what clusters cost.", _PLACES),
        "ops": Entry("ops:ops", "See, attach to and cancel operations.", _MORE),
        "schema": Entry("more:schema", "Print the JSON Schema of task files.", _MORE),
        "completion": Entry(
            "more:completion", "Print a script that completes commands in your shell.", _MORE
        ),
        "version": Entry("more:version", "Show the version.", _MORE),
    },
)
