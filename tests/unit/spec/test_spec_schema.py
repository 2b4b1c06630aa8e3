"""The JSON Schema says what the models do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import Task, task_json_schema
from jupyter_sky.spec.loader import load_documents
from jupyter_sky.spec.model import TaskModel
from jupyter_sky.spec.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Iterator

jsonschema = pytest.importorskip("jsonschema")
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads(json.dumps(task_json_schema()))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> Any:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def models(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "task", schema
    yield from schema["$defs"].items()


def test_every_field_is_described_and_no_other_is_allowed(schema: dict[str, Any]) -> None:
    for name, model in models(schema):
        assert model["type"] == "object"
        assert model["additionalProperties"] is False, name
        assert model["description"], name
        for key, field in model["properties"].items():
            assert field.get("description"), f"{name}.{key} has no description"


def test_every_key_is_there(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == TaskModel.key_names()
    assert set(schema["$defs"]["Resources"]["properties"]) == Resources.key_names()


@pytest.mark.parametrize("path", sorted(DATA.glob("*.yaml")), ids=lambda path: path.stem)
def test_good_files_are_valid(validator: Any, path: Path) -> None:
    for document in load_documents(path.read_text()):
        validator.validate(document.data)


@pytest.mark.parametrize(
    "text",
    [
        "resources: {accelerators: [T4, 'A100:8'], autostop: true, ports: '80-90', job_recovery: FAILOVER}",
        "resources: {autostop: 10m, cloud: aws, region: r, zone: z, memory: 2x, image_id: {r: x}}",
        "service: {readiness_probe: /health, replicas: $N}\nenvs: {N: 3}",
        "resources:\nrun:\nenvs: {A: }",
        "workdir: {url: x}",
        "file_mounts: {/a: b, /c: {source: s3://x, mode: COPY}}",
        "secrets: {A: b}\nvolumes: {/a: b}",
    ],
)
def test_short_forms_are_valid(validator: Any, text: str) -> None:
    validator.validate(load_documents(text)[0].data)
    Task.from_yaml_str(text, env={"A": "x"})


@pytest.mark.parametrize(
    "text",
    [
        "runn: x",
        "run: [a]",
        "num_nodes: 0",
        "num_nodes: x",
        "resources: {acelerators: T4}",
        "resources: {cpus: []}",
        "resources: {disk_tier: hihg}",
        "resources: {use_spot: [1]}",
        "resources: {ports: [[1]]}",
        "name: A_b",
        "service: {replicas: 1}",
        "service: {readiness_probe: 3}",
        "file_mounts: {/a: 3}",
        "file_mounts: {/a: {nam: x}}",
        "envs: [A]",
        "envs: {9: x}",
        "envs: {A: [1]}",
        "workdir: {ref: x}",
        "config: {kubernets: {}}",
        "inputs: {a: -1}",
        "resources: {any_of: [{cpu: 2}]}",
        "resources: {accelerators: {A100: 0}}",
        "resources: {labels: [a]}",
        "- a",
    ],
)
def test_what_is_refused_is_invalid(validator: Any, text: str) -> None:
    with pytest.raises(SpecError):
        Task.from_yaml_str(text)
    assert not validator.is_valid(load_documents(text)[0].data)
