"""Launch: from a task to a running job on a cluster that may not exist yet.

The caller's side (`launch`) plans, asks for consent and begins an operation; the operation's side (`run`)
makes or starts the nodes, sends the files and queues the job. Each step writes down what it is about to
make before it makes it, so that a kill at any moment leaves a record from which the next launch goes on and
`down` cleans up.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

from jupyter_sky.config import user_name
from jupyter_sky.errors import ClusterMismatchError, NotConfirmedError, ProvisionError
from jupyter_sky.events import SilentReporter
from jupyter_sky.flows import agents, autostop, clusters, files, jobs, operations, sshconfig, truth
from jupyter_sky.flows.lifecycle import start_locked
from jupyter_sky.flows.views import LaunchResult, nodes_text
from jupyter_sky.infra.base import Offer, ProvisionRequest
from jupyter_sky.infra.registry import get_infra
from jupyter_sky.link import pool
from jupyter_sky.names import check_name
from jupyter_sky.spec import Task
from jupyter_sky.state import ClusterRecord, ClusterStatus, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_sky.events import Reporter
    from jupyter_sky.flows.operations import OperationContext
    from jupyter_sky.optimizer import Plan
    from jupyter_sky.spec import Resources
    from jupyter_sky.state import OperationRecord

#: Seconds between two rounds of `--retry-until-up`: the first wait, and the longest.
_RETRY_FIRST, _RETRY_LONGEST = 5.0, 300.0
#: The key under which the whole task, secrets in it, travels to the operation's standard input.
_TASK_KEY = "\0task"


def make_plan(task: Task, cluster_name: str | None = None) -> Plan:
    """Say where a task could run and for how much, cheapest first; nothing is made.

    Raises
    ------
    NoOfferError
        No enabled infra can satisfy the resources; each place's reason is in the message.
    """
    from jupyter_sky.flows.check import allowed_infras
    from jupyter_sky.infra.registry import enabled_infras
    from jupyter_sky.optimizer import optimize

    if cluster_name is not None:
        check_name(cluster_name)
    return optimize(task, infras=enabled_infras(allowed_infras()))


def generated_name() -> str:
    """Make a cluster name for a launch that gave none, as SkyPilot does: `sky-1f2e-ada`."""
    user = re.sub(r"[^a-z0-9-]+", "", user_name().lower()).strip("-")[:20]
    return f"sky-{os.urandom(2).hex()}-{user}".rstrip("-")


def launch(
    task: Task,
    cluster_name: str | None = None,
    *,
    retry_until_up: bool = False,
    idle_minutes_to_autostop: float | None = None,
    down: bool = False,
    no_setup: bool = False,
    fast: bool = False,
    dryrun: bool = False,
    confirm: Callable[[str, Plan], bool] | None = None,
    on_begin: Callable[[OperationRecord], object] | None = None,
    report: Reporter | None = None,
    command: str = "",
) -> LaunchResult:
    """Make a cluster (or use the one of that name), send the task's files and queue its job.

    Parameters
    ----------
    task
        What to run.
    cluster_name
        A DNS-1123 label; made up where None.
    retry_until_up
        Try all places again and again, with a growing pause, until one gives the nodes.
    idle_minutes_to_autostop, down
        Stop (or with `down` remove) the cluster after so many idle minutes.
    no_setup, fast
        Skip `setup`; with `fast` skip it only where the cluster is UP already.
    dryrun
        Only plan.
    confirm
        Asked with the name and the plan before a new cluster is made; False raises `NotConfirmedError`.
    on_begin
        Told of the operation as soon as it exists, so that a face can say how to attach to it again.
    report
        Hears phases, progress and log lines while this call waits.
    command
        What the person typed, without secrets, for `status`.

    Returns
    -------
    LaunchResult
        The job may still be waiting in the queue.
    """
    name = check_name(cluster_name if cluster_name is not None else generated_name())
    files.check_sources(task)
    existing = _existing(name)
    plan: Plan | None = None
    if existing is None:
        plan = make_plan(task)
        if dryrun:
            return LaunchResult(name, None, None, plan)
        if confirm is not None and not confirm(name, plan):
            raise NotConfirmedError(f"Cluster {name!r} was not launched.")
    else:
        check_fits(task, existing)
        if dryrun:
            return LaunchResult(name, None, None, None)
    request = {
        "cluster": name,
        "task": task.to_yaml_config(redact=True),
        "offers": [] if plan is None else [c.offer.to_dict() for c in plan.candidates],
        "retry_until_up": retry_until_up,
        "autostop": autostop.settings_of(task, idle_minutes_to_autostop, down=down),
        "no_setup": no_setup,
        "fast": fast,
        "command": command,
    }
    secrets = {**task.reveal_secrets(), _TASK_KEY: json.dumps(task.to_yaml_config(redact=False))}
    operation = operations.begin("launch", name, request, secrets)
    if on_begin is not None:
        on_begin(operation)
    result = operations.wait(operation.id, report)
    return LaunchResult(result["cluster"], result["job_id"], operation.id, plan)


def _existing(name: str) -> ClusterRecord | None:
    """Give the cluster of that name as it really is; None where there is none."""
    record = State.open().clusters.get(name)
    if record is None:
        return None
    found = truth.reconcile([record])
    return found[0] if found else None


def check_fits(task: Task, record: ClusterRecord) -> None:
    """Refuse a task that asks for more than an existing cluster has."""
    nodes = task.num_nodes or 1
    if nodes > record.num_nodes:
        raise ClusterMismatchError(
            f"The task asks for {nodes} nodes, cluster {record.name!r} has {record.num_nodes}.",
            hint="Use another cluster name, or take this one down first.",
        )
    have = offered_resources(Offer.from_dict(record.resources["offer"]))
    alternatives, _ = task.resources_alternatives()
    reasons = [alternative.fits_within(have) for alternative in alternatives]
    if None not in reasons:
        has = record.resources["describe"]
        raise ClusterMismatchError(
            f"The task does not fit on cluster {record.name!r} ({has}): {reasons[0]}.",
            hint="Use another cluster name, or take this one down first.",
        )


def offered_resources(offer: Offer) -> Resources:
    """Describe what an offer's node has in the words of a task."""
    from jupyter_sky.spec import Resources

    config: dict[str, Any] = {
        "infra": offer.place,
        "cpus": offer.cpus,
        "memory": offer.memory_gb,
        "accelerators": offer.accelerators or None,
        "use_spot": offer.use_spot,
    }
    return Resources(**config)


def run(request: dict[str, Any], secrets: dict[str, str], ctx: OperationContext) -> dict[str, Any]:
    """Do a launch, in the operation's own process. The result has `cluster` and `job_id` (or None)."""
    task = Task.from_yaml_config(json.loads(secrets[_TASK_KEY]))
    name = request["cluster"]
    with operations.cluster_lock(name, report=ctx):
        record, was_up = _bring_up(name, task, request, ctx)
        files.send_task_files(task, record, ctx)
        if request["autostop"] is not None:
            autostop.hand_over(record, request["autostop"])
        skip_setup = request["no_setup"] or (request["fast"] and was_up)
        job_id = None
        if task.run is not None or (task.setup is not None and not skip_setup):
            ctx.phase("submit", "queueing the job")
            spec = jobs.job_spec(task, record, count_cpus=False, no_setup=skip_setup)
            job_id = jobs.submit(record, spec, task.reveal_secrets())
        State.open().clusters.update(name, last_use=request["command"])
    return {"cluster": name, "job_id": job_id}


def _bring_up(
    name: str, task: Task, request: dict[str, Any], ctx: OperationContext
) -> tuple[ClusterRecord, bool]:
    """Give the cluster UP, and whether it was so before: used, healed, started, continued or made."""
    record = State.open().clusters.get(name)
    if record is not None:
        record = truth.reconcile_locked(record)
    if record is not None and record.status in {ClusterStatus.UP, ClusterStatus.AUTOSTOPPING}:
        check_fits(task, record)
        return agents.heal_locked(record), True
    if record is not None and (record.status is ClusterStatus.STOPPED or record.launched_at is not None):
        # Also where a start was cut off: a failure removes what a launch makes, never what was there before.
        check_fits(task, record)
        return start_locked(record, ctx), False
    if record is not None:
        check_fits(task, record)
        ctx.log("an earlier launch of this cluster did not finish; going on with it")
        return provision(record, task, ctx), False
    offers = [Offer.from_dict(raw) for raw in request["offers"]]
    if not offers:
        ctx.phase("optimize", "choosing where to run")
        offers = [candidate.offer for candidate in make_plan(task).candidates]
    return _provision_somewhere(name, task, offers, request, ctx), False


def _provision_somewhere(
    name: str, task: Task, offers: list[Offer], request: dict[str, Any], ctx: OperationContext
) -> ClusterRecord:
    """Make the cluster at the first offer that works; with `retry_until_up`, until one does."""
    pause = _RETRY_FIRST
    while True:
        failures: list[str] = []
        for offer in offers:
            try:
                return provision(_reserve(name, task, offer, request), task, ctx)
            except ProvisionError as error:
                failures.append(f"{offer.infra} ({offer.instance_type}): {error}")
                ctx.log(f"✗ {failures[-1]}")
        if not request["retry_until_up"]:
            raise ProvisionError(
                f"Cluster {name!r} could not be made anywhere:\n  " + "\n  ".join(failures),
                hint="Add --retry-until-up to go on trying, or ask for other resources.",
            )
        ctx.phase("waiting", f"no place had the nodes; trying again in {pause:g} s")
        time.sleep(pause)  # a cancellation ends it: it is raised in this thread
        pause = min(pause * 2, _RETRY_LONGEST)


def _request(record: ClusterRecord, task: Task) -> ProvisionRequest:
    return ProvisionRequest(
        cluster_id=record.id,
        cluster_name=record.name,
        num_nodes=record.num_nodes,
        offer=Offer.from_dict(record.resources["offer"]),
        resources=jobs.job_resources(task),
        owner=record.owner,
        labels=dict(jobs.job_resources(task).labels),
    )


def _reserve(name: str, task: Task, offer: Offer, request: dict[str, Any]) -> ClusterRecord:
    """Write the cluster into the database before anything of it exists."""
    nodes = task.num_nodes or 1
    shape = offered_resources(offer)
    record = ClusterRecord(
        name=name,
        id=os.urandom(16).hex(),
        infra=offer.place,
        resources={"offer": offer.to_dict(), "describe": shape.describe(nodes)},
        num_nodes=nodes,
        price_hourly=offer.price_hourly,
        owner=user_name(),
        last_use=request["command"],
    )
    handle = get_infra(offer.infra).reserve(_request(record, task))
    record = dataclasses.replace(record, handle=handle.to_dict())
    State.open().clusters.add(record)
    return record


def provision(record: ClusterRecord, task: Task, ctx: OperationContext) -> ClusterRecord:
    """Make the nodes of a reserved cluster, greet their agents and say UP; remove it all where that fails."""
    state = State.open()
    infra = clusters.infra_of(record)
    ctx.phase("provision", f"making {nodes_text(record.num_nodes)} on {record.infra}")
    try:
        handle = infra.provision(_request(record, task), ctx)
        record = state.clusters.update(record.name, handle=handle.to_dict())
        ctx.phase("connect", "greeting the agents")
        agents.introduce(record)
    except BaseException as error:
        # Also for a cancellation: what was made is removed before the error goes on.
        ctx.log(f"removing what was made: {error}" if str(error) else "removing what was made")
        pool.forget(record.id)
        infra.terminate(clusters.handle_of(record), SilentReporter())
        state.clusters.remove(record.name)
        raise
    now = time.time()
    state.clusters.open_interval(record.id, now)
    record = state.clusters.update(
        record.name, status=ClusterStatus.UP, launched_at=record.launched_at or now, note=None
    )
    sshconfig.write_entry(record.name)
    ctx.log(f"cluster {record.name} is UP")
    return record
