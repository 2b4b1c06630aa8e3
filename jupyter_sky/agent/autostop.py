"""Ending a cluster that nobody uses: how long it has been idle, and what happens then.

Idleness is reckoned from what happened (the last job's end, the last session's end, the setting itself), not
from ticks, so it is right after a restart of the agent and exact for any limit. A look once a minute is only
a net for clocks that were set.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Optional

from .node import ENDING, Node, write_file, write_json
from .params import MAX_SECONDS, can_be_carried, refusal
from .runner import base_env
from .store import Store, StoreError
from .wire import CallError

if TYPE_CHECKING:
    from .children import Children
    from .jobs import JobQueue
    from .journal import Journal

_TICK = 60.0
_HOOK_TIMEOUT = 3600.0
_WAIT_FOR = ("jobs_and_ssh", "jobs", "none")
_SETTING = "autostop"


class Autostop:
    """The cluster's autostop; lives on the head.

    Parameters
    ----------
    end
        Ends the cluster, given the reason: `autostop` or `autodown`.
    """

    def __init__(
        self,
        node: Node,
        store: Store,
        queue: JobQueue,
        children: Children,
        journal: Journal,
        end: Callable[[str], Awaitable[None]],
    ) -> None:
        self._node = node
        self._store = store
        self._queue = queue
        self._children = children
        self._journal = journal
        self._end = end
        self._holds = 0
        self._setting: Optional[Dict[str, Any]] = None
        self._last_active = time.time()
        self._task: Optional[asyncio.Future[None]] = None

    def begin(self, *, fresh: bool) -> None:
        """Take up an earlier agent's setting; a node that had been stopped begins `fresh`, without one."""
        if fresh:
            self._store.set(_SETTING, None)
        else:
            self._setting = self._store.setting(_SETTING)
            if self._setting is not None:
                self._last_active = max(self._setting["set_at"], self._store.last_end() or 0.0)
        self._task = asyncio.ensure_future(self._watch())

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def set(self, params: Dict[str, Any]) -> None:
        """Set or, with `idle_minutes` below 0, clear it. Raises `CallError` (`bad_params`, `disk`)."""
        minutes = params.get("idle_minutes")
        if not isinstance(minutes, (int, float)) or isinstance(minutes, bool) or not minutes <= MAX_SECONDS:
            raise CallError(
                "bad_params", f"idle_minutes is {minutes!r}; it must be a number of minutes, or -1"
            )
        wait_for = params.get("wait_for") or _WAIT_FOR[0]
        if wait_for not in _WAIT_FOR:
            raise CallError(
                "bad_params", f"wait_for is {wait_for!r}; it must be one of {', '.join(_WAIT_FOR)}"
            )
        # Checked now, not when the node is idle and nobody hears of it.
        hook, limit = params.get("hook"), params.get("hook_timeout")
        if hook is not None and not (isinstance(hook, str) and can_be_carried(hook)):
            raise refusal("hook", hook, "a shell script, or null")
        if limit is not None and not (isinstance(limit, (int, float)) and 0 < limit <= MAX_SECONDS):
            raise refusal("hook_timeout", limit, "a number of seconds, or null")
        now = time.time()
        setting = None
        if minutes >= 0:
            setting = {
                "idle_minutes": minutes,
                "down": bool(params.get("down")),
                "wait_for": wait_for,
                "hook": hook,
                "hook_timeout": limit,
                "set_at": now,
            }
        try:
            self._store.set(_SETTING, setting)
        except StoreError as error:
            raise CallError("disk", f"autostop was not set: {error}") from None
        self._setting = setting
        self._last_active = now
        self._queue.changed.fire()

    def get(self) -> Optional[Dict[str, Any]]:
        """Give the setting as `set` took it; None where there is none."""
        if self._setting is None:
            return None
        return {key: value for key, value in self._setting.items() if key != "set_at"}

    def held(self, count: int) -> None:
        """Count a session that begins (1) or ends (-1), such as an SSH connection."""
        self._holds += count
        self._last_active = time.time()
        self._queue.changed.fire()

    @property
    def idle_since(self) -> Optional[float]:
        """Since when nothing that counts has happened, in seconds since the epoch; None while it does."""
        wait_for = _WAIT_FOR[0] if self._setting is None else self._setting["wait_for"]
        if wait_for == "none" and self._setting is not None:
            return float(self._setting["set_at"])
        if self._queue.active_count or (wait_for == "jobs_and_ssh" and self._holds):
            return None
        return max(self._last_active, self._queue.last_end)

    async def _watch(self) -> None:
        while True:
            limit = _TICK
            since = self.idle_since
            if self._setting is not None and since is not None:
                limit = since + self._setting["idle_minutes"] * 60 - time.time()
                if limit <= 0:
                    await self._fire(self._setting)
                    return
            # Nothing may be awaited between the look above and this, or a change would be missed.
            await self._queue.changed.wait(min(limit, _TICK))

    async def _fire(self, setting: Dict[str, Any]) -> None:
        reason = "autodown" if setting["down"] else "autostop"
        self._queue.closed = f"cluster {self._node.cluster_name} is ending itself after being idle ({reason})"
        self._journal.write(f"{reason}: idle for {setting['idle_minutes']:g} minutes")
        try:
            write_json(self._node.path(ENDING), {"reason": reason, "at": time.time()})
        except OSError as error:
            self._journal.write(f"{ENDING} could not be written, so nobody sees this: {error}")
        if setting["hook"]:
            await self._run_hook(setting["hook"], setting["hook_timeout"] or _HOOK_TIMEOUT)
        await self._end(reason)

    async def _run_hook(self, hook: str, limit: float) -> None:
        script = self._node.path("hook.sh")
        try:
            write_file(script, hook.encode())
            output = os.open(self._node.path("hook.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                cwd = os.path.join(self._node.home, "sky_workdir")
                os.makedirs(cwd, exist_ok=True)
                argv = ["/bin/sh", script]
                pid = self._children.spawn(argv, env=base_env(self._node), cwd=cwd, output=output)
            finally:
                os.close(output)
        except OSError as error:
            self._journal.write(f"the autostop hook could not be started: {error}")
            return
        try:
            code = await asyncio.wait_for(self._children.exited(pid), limit)
            self._journal.write(f"the autostop hook ended with exit code {code}")
        except asyncio.TimeoutError:
            self._journal.write(f"the autostop hook took longer than {limit:g} s and is ended with the node")
