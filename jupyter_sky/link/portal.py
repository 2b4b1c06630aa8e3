"""One background thread with an event loop per process: where synchronous code runs what is asynchronous.

The SDK is synchronous, and in a notebook the main thread's loop belongs to the kernel, so links live in a
thread of their own. A forked child starts anew with a loop of its own. This module knows nothing of
links.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_sky.errors import LinkError, LinkTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

#: How long an interrupted caller waits for its work to be cancelled, in seconds.
_CANCEL_TIMEOUT = 2.0
#: How long what was put off until the end may take then, in seconds.
_EXIT_TIMEOUT = 3.0


class _Portal:
    """A loop and its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._main, name="jupyter-sky-portal", daemon=True)
        self.at_exit: list[Callable[[], Awaitable[None]]] = []
        self.thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def close(self) -> None:
        async def finish() -> None:
            for work in self.at_exit:
                await work()
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        ending = asyncio.run_coroutine_threadsafe(finish(), self.loop)
        concurrent.futures.wait([ending], timeout=_EXIT_TIMEOUT)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(_EXIT_TIMEOUT)
        if not self.thread.is_alive():
            self.loop.close()


class _Holder:
    """The portal of this process, if it has been needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.portal: _Portal | None = None
        #: portals of processes this one was forked from: never used, never collected, so never closed here
        self.inherited: list[_Portal] = []

    def get(self) -> _Portal:
        with self.lock:
            if self.portal is None:
                self.portal = _Portal()
            return self.portal

    def forked(self) -> None:
        self.lock = threading.Lock()
        if self.portal is not None:
            self.inherited.append(self.portal)
            self.portal = None

    def close(self) -> None:
        portal, self.portal = self.portal, None
        if portal is not None:
            portal.close()


_HOLDER = _Holder()
os.register_at_fork(after_in_child=_HOLDER.forked)
atexit.register(_HOLDER.close)


def run(fn: Callable[..., Awaitable[T]], *args: Any, timeout: float | None = None) -> T:
    """Run `fn(*args)` in the portal's loop and wait for what it gives.

    It may be called from any thread, also from one whose own loop is running (which waits meanwhile, as it
    does for any synchronous code). A keyboard interrupt cancels the work before it goes on.

    Parameters
    ----------
    fn
        An asynchronous function.
    timeout
        Seconds; None: as long as it takes.

    Raises
    ------
    LinkTimeoutError
        It took longer than `timeout`; it was cancelled.
    LinkError
        Called from within the portal itself, where waiting would never end.
    """
    portal = _HOLDER.get()
    if threading.current_thread() is portal.thread:
        raise LinkError("run() was called from the portal's own thread; await the function instead")

    async def work() -> T:
        return await asyncio.wait_for(fn(*args), timeout)

    future = asyncio.run_coroutine_threadsafe(work(), portal.loop)
    try:
        return future.result()
    except TimeoutError as error:
        if timeout is None:
            raise
        raise LinkTimeoutError(f"this was not done within {timeout:g} s") from error
    except BaseException:
        if not future.done():
            future.cancel()
            # the cancelled work may hold streams and files: let it put them away
            concurrent.futures.wait([future], timeout=_CANCEL_TIMEOUT)
        raise


def at_exit(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` in the portal's loop when the process ends."""
    _HOLDER.get().at_exit.append(work)
