"""Which function does the work of each kind of operation.

They are named, not imported: whoever begins or follows an operation needs none of them, and the operation's
process imports the one it runs. A caller may name another function, which is how a third party adds a kind of
its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from jupyter_sky.errors import UsageError

if TYPE_CHECKING:
    from jupyter_sky.flows.operations.context import OperationContext

#: From the kind of an operation to `module:function`.
HANDLERS: dict[str, str] = {
    "launch": "jupyter_sky.flows.launch:run",
    "stop": "jupyter_sky.flows.lifecycle:run_stop",
    "start": "jupyter_sky.flows.lifecycle:run_start",
    "down": "jupyter_sky.flows.lifecycle:run_down",
}


class Handler(Protocol):
    """The work of an operation: it reports to `ctx`, and gives a result of plain JSON without secrets."""

    def __call__(
        self, request: dict[str, Any], secrets: dict[str, str], ctx: OperationContext
    ) -> dict[str, Any]:
        """Do the work in the operation's process; a `SkyError` is what its waiters see."""


def handler_path(kind: str) -> str:
    """Give the import path for a kind of operation; `UsageError` for a kind that is not known."""
    try:
        return HANDLERS[kind]
    except KeyError:
        known = ", ".join(sorted(HANDLERS))
        raise UsageError(f"There is no operation {kind!r}.", hint=f"The operations are {known}.") from None


def load(path: str) -> Handler:
    """Import the function named `module:function`."""
    module, _, function = path.partition(":")
    return cast(Handler, getattr(import_module(module), function))
