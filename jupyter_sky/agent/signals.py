"""A signal that many tasks may wait for: each `fire` wakes whoever waits at that moment.

Unlike an event it has no state to clear, so a waiter looks at the truth, waits, and looks again.
"""

from __future__ import annotations

import asyncio
from typing import Optional, Set


class Signal:
    """Wakes all who wait."""

    def __init__(self) -> None:
        self._waiters: Set[asyncio.Future[bool]] = set()

    def fire(self) -> None:
        """Wake everyone who waits now."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            _settle(waiter, True)

    async def wait(self, limit: Optional[float] = None) -> bool:
        """Wait for the next `fire`, at most `limit` seconds; say whether it came."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.add(waiter)
        timer = None if limit is None else loop.call_later(max(limit, 0), _settle, waiter, False)
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()


def _settle(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)
