"""The Python SDK on a real cluster, while an event loop runs in the calling thread, as in a notebook."""

from __future__ import annotations

import asyncio

import pytest

import jupyter_sky
from jupyter_sky import Resources, Task


class Heard:
    """A reporter that remembers the phases."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.phases.append(name)

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        pass

    def log(self, text: str) -> None:
        pass


def test_a_cluster_lives_and_ends_inside_a_running_loop(sky_home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    async def notebook():
        life(tmp_path)

    asyncio.run(notebook())
    assert "hello from the sdk\n" in capsys.readouterr().out


def life(folder):
    task = Task(
        name="greet", run='echo hello from the $WHO; cat "$HOME"/data 2>/dev/null; true', envs={"WHO": "sdk"}
    )
    task.set_resources(Resources(infra="local", cpus="1+"))
    plan = jupyter_sky.optimize(task)
    assert plan.chosen.offer.infra == "local"
    dry = jupyter_sky.launch(task, cluster_name="dev", dryrun=True)
    assert (dry.job_id, dry.handle) == (None, None)
    assert jupyter_sky.status() == []

    heard = Heard()
    job_id, handle = jupyter_sky.launch(task, cluster_name="dev", report=heard)
    assert "provision" in heard.phases
    assert handle.name == "dev"
    assert jupyter_sky.tail_logs("dev", job_id) == 0
    (row,) = jupyter_sky.status("dev")
    assert row.status == "UP"
    assert jupyter_sky.status(["d*"], refresh=True)._repr_html_().count("<tr>") == 2

    (folder / "data").write_text("payload\n")
    jupyter_sky.rsync_up("dev", "data", "~/data")
    pieces: list[str] = []
    job_id, _ = jupyter_sky.exec(task, "dev")
    assert jupyter_sky.tail_logs("dev", job_id, output_stream=pieces.append) == 0
    assert "".join(pieces) == "hello from the sdk\npayload\n"
    jupyter_sky.rsync_down("dev", "~/data", folder / "back")
    assert (folder / "back").read_text() == "payload\n"

    job_id, _ = jupyter_sky.exec(Task(run="sleep 600"), "dev")
    assert job_id is not None
    assert jupyter_sky.job_status("dev", [job_id])[job_id] in {"PENDING", "RUNNING"}
    assert jupyter_sky.cancel("dev", job_ids=[job_id]) == [job_id]
    assert jupyter_sky.job_status("dev") == {job_id: "CANCELLED"}
    assert jupyter_sky.tail_logs("dev", job_id, follow=False, tail=5) == 103
    assert [job.id for job in jupyter_sky.queue("dev")] == [3, 2, 1]
    assert jupyter_sky.queue("dev", skip_finished=True) == []
    logs = jupyter_sky.download_logs("dev", [1], folder / "logs")
    assert (logs[1] / "run.log").read_text() == "hello from the sdk\n"

    jupyter_sky.autostop("dev", 10, down=True)
    (row,) = jupyter_sky.status("dev")
    assert row.autostop is not None
    assert (row.autostop["idle_minutes"], row.autostop["down"]) == (10, True)
    jupyter_sky.autostop("dev", -1)
    jupyter_sky.stop("dev")
    assert jupyter_sky.status("dev")[0].status == "STOPPED"
    started = jupyter_sky.start("dev")
    assert started is not None
    assert started.status == "UP"
    jupyter_sky.down("dev")
    assert jupyter_sky.status() == []
    (cost,) = jupyter_sky.cost_report()
    assert cost.name == "dev"
    (local,) = jupyter_sky.check(["local"])
    assert local.enabled
    assert isinstance(jupyter_sky.list_accelerators(), list)
    with pytest.raises(jupyter_sky.SkyError, match="There is no cluster 'dev'"):
        jupyter_sky.queue("dev")
