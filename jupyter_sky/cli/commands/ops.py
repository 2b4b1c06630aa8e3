"""`ops`: the operations behind launch, start, stop and down, which go on without whoever began them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jupyter_sky.cli import complete, options
from jupyter_sky.cli.face import Document, Face, Outcome
from jupyter_sky.cli.grammar import Entry, SkyCommand, SkyGroup
from jupyter_sky.cli.watching import operations_go_on
from jupyter_sky.errors import NotConfirmedError, OperationNotFoundError, UsageError

if TYPE_CHECKING:
    from jupyter_sky.sdk.listing import Listing
    from jupyter_sky.state import OperationRecord

_COMMANDS = {
    "list": Entry("ops:list_", "List operations that have not ended."),
    "attach": Entry("ops:attach", "Watch an operation until it ends."),
    "cancel": Entry("ops:cancel", "Cancel an operation; it cleans up after itself."),
    "log": Entry("ops:log", "Show what an operation said so far."),
}
ops = SkyGroup(name="ops", help="See, attach to and cancel operations.", entries=_COMMANDS)

_operation = click.argument("operation", metavar="ID", shell_complete=complete.operations)


def _find(beginning: str) -> OperationRecord:
    """Give the operation whose id begins so."""
    from jupyter_sky.flows import operations as flow

    found = [row for row in flow.listing(active=None) if row.id.startswith(beginning.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{beginning!r} begins the ids of {len(found)} operations.",
            hint="Give more of it: " + ", ".join(row.id for row in found[:3]),
        )
    raise OperationNotFoundError(
        f"There is no operation {beginning!r}.", hint="`jupyter sky ops list --all` lists them."
    )


@click.command(cls=SkyCommand, name="list")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@options.output
@options.pass_face
def list_(_: Face, /, *, everything: bool) -> Listing[OperationRecord]:
    """List operations that have not ended."""
    from jupyter_sky.flows import operations as flow
    from jupyter_sky.sdk import views

    return views.operations(flow.listing(active=None if everything else True))


@click.command(cls=SkyCommand)
@_operation
@options.output
@options.pass_face
def attach(face: Face, /, *, operation: str) -> Outcome:
    """Watch an operation until it ends."""
    from jupyter_sky.flows import operations as flow

    record = _find(operation)
    with operations_go_on() as watch, face.progress() as report:
        watch.on_begin(record)
        result = flow.wait(record.id, report)
    cluster, job_id = result.get("cluster", record.target), result.get("job_id")
    face.note(f"✓ The {record.kind} of {cluster!r} is done.")
    if job_id is not None:
        face.note(f"  `jupyter sky logs {cluster} {job_id}` shows the log of its job.")
    return Outcome(cluster, job_id, operation_id=record.id)


@click.command(cls=SkyCommand)
@_operation
@options.yes
@options.pass_face
def cancel(face: Face, /, *, operation: str, yes: bool) -> None:
    """Cancel an operation; it cleans up after itself."""
    from jupyter_sky.flows import operations as flow

    record = _find(operation)
    if not yes and not face.ask(f"Cancelling the {record.kind} of {record.target!r}. Proceed?"):
        raise NotConfirmedError("The operation was not cancelled.")
    if flow.cancel(record.id):
        face.note(f"✓ The {record.kind} of {record.target!r} was asked to end.")
    else:
        face.note(f"The {record.kind} of {record.target!r} had ended already.")


@click.command(cls=SkyCommand)
@_operation
@options.pass_face
def log(_: Face, /, *, operation: str) -> Document:
    """Show what an operation said so far."""
    from jupyter_sky.flows import operations as flow

    lines = []
    for event in flow.history(_find(operation).id):
        if event.kind == "phase":
            detail = event.data.get("detail")
            lines.append(f"{event.text}: {detail}" if detail else event.text)
        elif event.kind == "log":
            lines.append(event.text)
    return Document("\n".join(lines))
