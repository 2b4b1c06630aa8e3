"""Jupyter Sky: a task written once runs anywhere, and everything about it is done from inside a notebook.

The names of the SDK are here (`jupyter_sky.launch(...)`, `jupyter_sky.Task(...)`), and the IPython
extension (`%load_ext jupyter_sky`). Each is imported when it is first used, so that `import jupyter_sky`
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jupyter_sky._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_sky.errors import SkyError
    from jupyter_sky.sdk import (
        Launched,
        Listing,
        autostop,
        cancel,
        check,
        cost_report,
        down,
        download_logs,
        exec,  # noqa: A004 - the name that SkyPilot's users type
        job_status,
        launch,
        list_accelerators,
        optimize,
        queue,
        rsync_down,
        rsync_up,
        start,
        status,
        stop,
        tail_logs,
    )
    from jupyter_sky.spec import Resources, Task

__all__ = [
    "Launched",
    "Listing",
    "Resources",
    "SkyError",
    "Task",
    "__version__",
    "autostop",
    "cancel",
    "check",
    "cost_report",
    "down",
    "download_logs",
    "exec",
    "job_status",
    "launch",
    "list_accelerators",
    "load_ipython_extension",
    "optimize",
    "queue",
    "rsync_down",
    "rsync_up",
    "start",
    "status",
    "stop",
    "tail_logs",
    "unload_ipython_extension",
]

#: Where a name lives that is not the SDK's.
_ELSEWHERE = {"Resources": "jupyter_sky.spec", "Task": "jupyter_sky.spec", "SkyError": "jupyter_sky.errors"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "jupyter_sky.sdk")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add `%sky` and `%%sky` to an IPython shell; called by `%load_ext jupyter_sky`."""
    from jupyter_sky_magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take `%sky` out of an IPython shell again; called by `%unload_ext jupyter_sky`."""
    from jupyter_sky_magics import unload

    unload(shell)
