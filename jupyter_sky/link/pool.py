"""The links of this process, one per node, shared by all who need them.

Opening a link starts a process or a connection, so it is kept for the next command. A forked child has
none of its parent's.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from jupyter_sky.link import portal
from jupyter_sky.link.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_sky.link.carriers import Carrier


class _Pool:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.links: dict[str, Link] = {}
        self.locks: dict[str, threading.Lock] = {}
        self.registered = False

    def forked(self) -> None:
        self.__init__()  # type: ignore[misc]  # the child's locks must be new ones: a thread it has not may hold them

    def lock_of(self, key: str) -> threading.Lock:
        with self.lock:
            if not self.registered:
                portal.at_exit(self.close_all)
                self.registered = True
            return self.locks.setdefault(key, threading.Lock())

    async def close_all(self) -> None:
        links, self.links = list(self.links.values()), {}
        for link in links:
            await link.close()


_POOL = _Pool()
os.register_at_fork(after_in_child=_POOL.forked)


def get_link(key: str, make_carrier: Callable[[], Carrier], *, timeout: float = 30) -> Link:
    """Give the link of `key`, opening it if there is none or it was closed.

    Parameters
    ----------
    key
        What tells nodes apart, such as the cluster's id.
    make_carrier
        Makes the way to the node, only where it is needed.
    timeout
        Seconds for the first connection.

    Raises
    ------
    LinkError
        The agent could not be reached.
    """
    with _POOL.lock_of(key):
        link = _POOL.links.get(key)
        if link is None or link.state == "closed":
            carrier = make_carrier()

            async def connect() -> Link:
                return await Link.connect(carrier, timeout=timeout)

            link = _POOL.links[key] = portal.run(connect)
        return link


def forget(key: str) -> None:
    """Close the link of `key`, if there is one, such as when its node is about to go."""
    with _POOL.lock_of(key):
        link = _POOL.links.pop(key, None)
        if link is not None:
            portal.run(link.close)


def close_all() -> None:
    """Close every link of this process."""
    portal.run(_POOL.close_all)
