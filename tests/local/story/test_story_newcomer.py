"""What a newcomer types that cannot be right, and what is said about it; files that must not travel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.cli.program import run
from jupyter_sky.errors import JobNotFoundError, SyncError
from jupyter_sky.flows import exec as exec_flow
from jupyter_sky.flows import files, jobs, launch, lifecycle, logs, status
from jupyter_sky.spec import Task

if TYPE_CHECKING:
    from pathlib import Path


def test_jobs_and_ranks_that_are_not_there_are_named(sky_home: Path, capsys: pytest.CaptureFixture) -> None:
    job_id = launch.launch(Task(run="echo hi"), "dev").job_id
    assert job_id is not None
    with pytest.raises(JobNotFoundError, match="has no job 9"):
        jobs.cancel("dev", [job_id, 9])
    with pytest.raises(JobNotFoundError, match="job 1 has no rank 7; its ranks are 0 to 0"):
        logs.tail("dev", job_id, rank=7, write=bytes)
    with pytest.raises(JobNotFoundError, match="job 1 has no rank 7"):
        logs.tail("dev", rank=7, write=bytes)
    assert jobs.get("dev").name is None
    assert run(["logs", "dev", "-"]) == 1
    assert "no job named '-'" in capsys.readouterr().err


def test_every_answer_can_be_had_as_json(sky_home: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    launch.launch(Task(run="sleep 600"), "dev")

    def answer(*words: str) -> object:
        assert run([*words, "-o", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert answer("cancel", "dev", "-y") == {"cluster_name": "dev", "cancelled": [1]}
    assert answer("cancel", "dev", "1", "-y") == {"cluster_name": "dev", "cancelled": []}
    assert answer("logs", "dev", "-s") == {"1": "sky_logs/dev/1"}
    shown = answer("status", "dev", "--ip")
    assert isinstance(shown, dict)
    assert shown["name"] == "dev"
    (place,) = answer("launch", "--dryrun", "true")
    assert (place["infra"], place["cost_hourly"], place["chosen"]) == ("local", 0.0, True)


def test_the_state_folder_inside_a_workdir_stays_at_home(tmp_path: Path, sky_home: Path, monkeypatch) -> None:
    work = sky_home.parent
    (work / "kept.txt").write_text("kept")
    (work / "clone").mkdir()
    (work / "clone" / sky_home.name).write_text("only the name is alike")
    job_id = launch.launch(Task(workdir=str(work), run="ls . clone"), "dev").job_id
    pieces: list[bytes] = []
    assert logs.tail("dev", job_id, write=pieces.append).exit_code == 0
    lines = b"".join(pieces).decode().split("clone:")
    assert "kept.txt" in lines[0]
    assert sky_home.name not in lines[0].split()
    assert sky_home.name in lines[1].split()
    stats = files.rsync_up("dev", work, "~/all/", ignore=False)
    assert stats.files < 50
    with pytest.raises(SyncError, match="is the state folder"):
        files.rsync_up("dev", sky_home, "~/state/")


def test_volumes_are_refused_and_not_forgotten(sky_home: Path) -> None:
    task = Task.from_yaml_config({"run": "true", "volumes": {"/mnt/data": "shared"}})
    with pytest.raises(SyncError, match="/mnt/data"):
        launch.launch(task, "dev", dryrun=True)


def test_starting_what_is_up_disturbs_nothing(sky_home: Path, capsys: pytest.CaptureFixture) -> None:
    launch.launch(Task(run="true"), "dev")
    before = exec_flow.exec_task(Task(run="sleep 600"), "dev").job_id
    assert run(["start", "dev", "-y"]) == 0
    assert "is up already" in capsys.readouterr().err
    assert jobs.get("dev", before).status == "RUNNING"
    lifecycle.down(["dev"])
    assert status.status() == []
    assert run(["down", "--all", "-y"]) == 0
    assert "You have no clusters." in capsys.readouterr().err
