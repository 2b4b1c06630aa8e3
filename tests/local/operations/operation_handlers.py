"""Handlers for tests, imported by the operation's own process; files tell them when to go on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import OperationCancelledError, ProvisionError
from jupyter_sky.flows.operations import cluster_lock

if TYPE_CHECKING:
    from jupyter_sky.flows.operations import OperationContext

Json = dict[str, Any]


def wait_for(file: str, limit: float = 60.0) -> None:
    deadline = time.monotonic() + limit
    while not Path(file).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(file)
        time.sleep(0.005)


def greet(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("first", "a beginning")
    ctx.log("hello")
    ctx.phase("second")
    return {"request": request, "names": sorted(secrets), "pid": os.getpid(), "cwd": str(Path.cwd())}


def hold(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    for phase in request.get("phases", ["holding"]):
        ctx.phase(phase)
    wait_for(request["until"])
    return {"held": True}


def hold_and_clean(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("holding")
    try:
        wait_for(request["until"])
    except OperationCancelledError:
        ctx.phase("cleaning")
        wait_for(request["cleaned"])
        if request.get("trouble"):
            raise ProvisionError("A node is left.", hint="Remove it.") from None
        raise
    return {}


def swallow(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("holding")
    try:
        wait_for(request["until"])
    except Exception:  # noqa: BLE001  a careless handler is what this is
        ctx.log("swallowed")
    ctx.check_cancelled()
    return {}


def inside_lock(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    with cluster_lock(ctx.target, report=ctx):
        ctx.phase("inside")
        wait_for(request["until"])
        return {"at": time.time()}


def refuse(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("asking")
    raise ProvisionError("No node of that kind is left.", hint="Try another zone.")


def stumble(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    raise ValueError(f"a defect near {secrets.get('TOKEN', 'nothing')}")


def leave(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    sys.exit(3)


def give_nonsense(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    return {"what": object()}


def count(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("counting")
    for number in range(1, request["to"] + 1):
        ctx.progress(number, request["to"] + 1, "files")
    ctx.phase("done")
    return {}


def advance(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("advancing")
    ctx.progress(3, None, "nodes")
    wait_for(request["until"])
    return {}


def babble(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    token = secrets["TOKEN"]
    ctx.phase(f"using {token}", f"with {token}")
    ctx.log(f"a line with {token} and \udc80 in it")
    ctx.progress(1, 1, token)
    print("printed", token, end="")
    print(token[:5], token[5:], sep="", file=sys.stderr)
    logging.getLogger("x").warning("logged %s", token)
    for line in secrets["KEY"].splitlines():
        print(line)
    ctx.redact(["found-out-later"])
    ctx.log("a token that was found-out-later")
    if request.get("until"):
        wait_for(request["until"])
    return {"token": token, token: [token]}


def talk(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    ctx.phase("holding")
    wait_for(request["until"])
    for number in range(request["lines"]):
        ctx.log(f"line {number}")
    Path(request["then"]).touch()
    return {}


def spawn_child(request: Json, secrets: dict[str, str], ctx: OperationContext) -> Json:
    """Leave a child behind that lives on: it must not keep the operation alive in the eyes of others."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with Path(request["note"]).open("w") as stream:
        stream.write(str(child.pid))
    ctx.phase("child")
    wait_for(request["until"])
    return {}
