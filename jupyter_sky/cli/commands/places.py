"""`check`, `gpus`, `cost-report`: where tasks can run, and what that cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jupyter_sky.cli import complete, options
from jupyter_sky.cli.grammar import Entry, SkyCommand, SkyGroup
from jupyter_sky.errors import UsageError

if TYPE_CHECKING:
    from jupyter_sky.cli.face import Face
    from jupyter_sky.infra.base import InfraCheck
    from jupyter_sky.sdk.listing import Listing
    from jupyter_sky.state import CostRow


@click.command(cls=SkyCommand)
@click.argument("infras", metavar="[INFRA]...", nargs=-1, shell_complete=complete.infras)
@options.output
@options.pass_face
def check(_: Face, /, *, infras: tuple[str, ...]) -> Listing[InfraCheck]:
    """Say which infras can be used from here."""
    from jupyter_sky.flows import check as flow
    from jupyter_sky.sdk import views

    return views.checks(flow.check(infras))


def _list_gpus(
    _: Face, /, *, accelerator: str | None, infra: str | None, cloud: str | None
) -> Listing[dict[str, Any]]:
    """List GPUs; ACCELERATOR shows only those of that name."""
    from jupyter_sky.flows import check as flow
    from jupyter_sky.sdk import views

    if infra and cloud:
        raise UsageError("--infra says where already, so --cloud cannot.")
    place = infra or cloud
    rows = flow.gpus([place] if place else None)
    if accelerator:
        wanted = accelerator.partition(":")[0].lower()
        rows = [row for row in rows if str(row["gpu"]).lower().startswith(wanted)]
    return views.gpus(rows)


def _gpu_command(name: str, text: str) -> click.Command:
    """Make one of the two spellings of the same command."""

    @click.command(cls=SkyCommand, name=name, help=text)
    @click.argument("accelerator", metavar="[ACCELERATOR]", required=False)
    @click.option("--infra", metavar="INFRA", shell_complete=complete.infras, help="Only there.")
    @click.option(
        "--cloud", metavar="INFRA", shell_complete=complete.infras, help="Only there; older spelling."
    )
    @click.option(
        "-a", "--all", "everything", is_flag=True, expose_value=False, help="All of them; the default."
    )
    @options.output
    @options.pass_face
    def command(face: Face, /, **given: Any) -> Listing[dict[str, Any]]:
        return _list_gpus(face, **given)

    return command


list_gpus = _gpu_command(
    "list", "List GPUs: how many a node may have, how many there are, how many are free."
)
show_gpus = _gpu_command("show-gpus", "List GPUs; the same as `gpus list`.")
gpus = SkyGroup(
    name="gpus",
    help="See which GPUs there are.",
    entries={
        "list": Entry(
            "places:list_gpus", "List GPUs: how many a node may have, how many there are, how many are free."
        )
    },
)


@click.command(cls=SkyCommand, name="cost-report")
@click.option("-a", "--all", "everything", is_flag=True, expose_value=False, help="All of them; the default.")
@options.output
@options.pass_face
def cost_report(_: Face, /) -> Listing[CostRow]:
    """List what clusters cost.

    Clusters that are gone are listed too. Costs are estimates: the time a cluster was up, times its price.
    """
    from jupyter_sky.flows import cost as flow
    from jupyter_sky.sdk import views

    return views.costs(flow.cost_report())
