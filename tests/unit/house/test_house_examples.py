"""Every example is understood, and none promises what it does not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from jupyter_sky.spec import Task, load_tasks

EXAMPLES = Path(__file__).parents[3] / "examples"
YAMLS = sorted(EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_an_example_is_understood_and_survives_a_round_trip(path: Path) -> None:
    for task in load_tasks(path):
        assert task.run
        written = task.to_yaml(redact=False)
        assert Task.from_yaml_str(written).to_yaml(redact=False) == written


def test_bert_asks_for_two_nodes_with_an_a100_each() -> None:
    task = Task.from_yaml(EXAMPLES / "bert.yaml")
    (resources,), _ = task.resources_alternatives()
    assert task.num_nodes == 2
    assert resources.accelerators == {"A100": 1}
    for variable in ("NODE_IPS", "NUM_GPUS_PER_NODE", "NODE_RANK", "TASK_ID"):
        assert f"$SKYPILOT_{variable}" in str(task.run)


def test_vllm_probes_with_the_model_it_serves() -> None:
    task = Task.from_yaml(EXAMPLES / "vllm.yaml", env={"MODEL_NAME": "some/model"})
    assert task.service is not None
    assert task.service.replicas == 3
    probe = task.service.readiness_probe
    assert probe.path == "/v1/chat/completions"
    assert probe.post_data["model"] == "some/model"


def test_the_pipeline_is_two_tasks_in_order() -> None:
    assert [task.name for task in load_tasks(EXAMPLES / "pipeline.yaml")] == ["train", "report"]


def test_the_notebook_is_clean() -> None:
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_files_that_examples_name_are_there() -> None:
    texts = [path.read_text() for path in [*YAMLS, EXAMPLES / "quickstart.ipynb"]]
    named = {name for text in texts for name in re.findall(r"(?<![\w/.])[\w-]+\.(?:py|yaml)\b", text)}
    assert not {name for name in named if not (EXAMPLES / name).exists()} - {"run_qa.py"}


def dry_run(name: str) -> subprocess.CompletedProcess[str]:
    """Plan an example as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "jupyter_sky", "launch", "--dryrun", name],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["train_digits.yaml", "gang.yaml", "multi_resources.yaml"])
def test_a_dry_run_shows_where_it_would_run(name: str, sky_home: Path) -> None:
    planned = dry_run(name)
    assert planned.returncode == 0, planned.stderr
    assert "Considered resources" in planned.stdout
    assert "local" in planned.stdout
    assert not (sky_home / "local").exists(), "a dry run makes nothing"


@pytest.mark.parametrize("name", ["bert.yaml", "vllm.yaml"])
def test_a_dry_run_says_why_a_place_cannot(name: str, sky_home: Path) -> None:
    planned = dry_run(name)
    if planned.returncode == 0:  # this machine has what it asks for
        assert "Considered resources" in planned.stdout
    else:
        assert planned.returncode == 3
        assert "\n  local: " in planned.stderr
        assert "hint:" in planned.stderr
        assert "Traceback" not in planned.stderr
