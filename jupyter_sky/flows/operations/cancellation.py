"""Turn SIGTERM into an exception in the main thread, once, and never in the middle of a write."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import OperationCancelledError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cancellation:
    """Whether a person asked the operation to end.

    Requests are noted from `install` on, raised in the main thread from `open` on, and ignored after `close`.
    Only the first is raised: what follows it is cleaning up, which must not be cut short.
    """

    def __init__(self) -> None:
        self.requested = False
        self._raised = False
        self._closed = False
        self._holds = 1  # until `open`

    def install(self) -> None:
        """Listen to SIGTERM and SIGINT; SIGHUP is ignored, for a closed terminal is no wish of a person."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # the thread that started us may have had them blocked, and that is inherited
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

    def open(self) -> None:
        """Raise requests from now on, and the one that came before."""
        self._holds -= 1
        self._raise_once()

    def close(self) -> None:
        """Ignore requests from now on: the work is over."""
        self._closed = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a request back until the block is done; nothing is ever raised in another thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        self._raise_once()

    def check(self) -> None:
        """Raise `OperationCancelledError` if a person asked for the end, also where it was raised before."""
        if self.requested:
            self._raised = True
            raise OperationCancelledError("The operation was cancelled.")

    def _on_signal(self, *_: Any) -> None:
        if not self._closed:
            self.requested = True
            self._raise_once()

    def _raise_once(self) -> None:
        if self.requested and not (self._raised or self._closed or self._holds):
            self._raised = True
            raise OperationCancelledError("The operation was cancelled.")
