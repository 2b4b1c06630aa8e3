"""Forget old operations, so that the home folder does not grow for ever; done by one that has just ended."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from jupyter_sky.flows.operations.folder import FOLDER, OperationFolder

if TYPE_CHECKING:
    from jupyter_sky.state import State

#: How many ended operations are remembered, and for how long, in seconds.
KEEP = 200
KEEP_SECONDS = 30 * 24 * 3600.0
#: A folder without a row is what a killed caller left between the two; after this time it is surely old.
STRAY_SECONDS = 3600.0


def forget_old(state: State) -> None:
    """Remove the rows and folders of operations that ended long ago; one that lives is never touched."""
    now = time.time()
    for operation_id in state.operations.prune(KEEP, now - KEEP_SECONDS):
        shutil.rmtree(OperationFolder(operation_id).path, ignore_errors=True)
    for path in (state.home / FOLDER).iterdir():
        if now - path.stat().st_mtime > STRAY_SECONDS and state.operations.get(path.name) is None:
            shutil.rmtree(path, ignore_errors=True)
