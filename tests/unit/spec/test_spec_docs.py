"""The page on the task file names every key, and its examples are good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jupyter_sky.spec import Task, parse_pipeline, task_json_schema

PAGE = (Path(__file__).parents[3] / "docs" / "task-yaml.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
GIVEN = {"RUN_ID": "7"}, {"HF_TOKEN": "secret"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n", 1)[0])
def test_every_example_is_a_task(example: str) -> None:
    env, secrets = GIVEN if "RUN_ID" in example else ({}, {})
    assert parse_pipeline(example, env=env, secrets=secrets).tasks


def test_the_example_in_python() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code.replace("from jupyter_sky import", "from jupyter_sky.spec import"), names)
    assert isinstance(names["task"], Task)


def test_every_key_is_named() -> None:
    schema = task_json_schema()
    written = set(re.findall(r"`([a-z_]+)`", PAGE))
    for name, model in (("task", schema), *schema["$defs"].items()):
        missing = model["properties"].keys() - written - {"url", "ref"}
        assert not missing, f"{name}: {missing}"
