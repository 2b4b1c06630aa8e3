"""A secret's value is found nowhere but where it is asked for."""

from __future__ import annotations

import pickle
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import REDACTED, Task, redact_text
from jupyter_sky.spec.resources import Resources

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "Xq7hunter2zz"
TEMPLATE = """
name: hide
workdir: /w/$TOKEN
secrets:
  TOKEN: {secret}
resources:
  image_id: docker:registry/$TOKEN
  any_of:
    - image_id: {{a: "x${{TOKEN}}"}}
    - cpus: 2
file_mounts:
  /a/$TOKEN: s3://bucket/$TOKEN
  /b: {{name: $TOKEN, source: "/x/${{TOKEN}}"}}
service:
  readiness_probe:
    path: /$TOKEN
    headers: {{Authorization: Bearer $TOKEN}}
    post_data: {{key: $TOKEN}}
  replicas: 2
  tls: {{keyfile: "$TOKEN", certfile: c}}
run: echo $TOKEN
"""


def shown(task: Task) -> str:
    """Everything that a person, a log, a table or a database could get to see of a task."""
    parts = [
        repr(task),
        str(task),
        task.to_yaml(),
        str(task.to_yaml_config()),
        repr(task.service),
        str(task.service),
        repr(task.file_mounts),
        str(task.file_mounts),
        repr([task.workdir]),
        repr(task.resources),
        str(task.resources),
        repr(task.secrets),
        str(task.secrets),
        f"{task.secrets}",
        repr(task.resources_alternatives()),
        str(task.resources.to_yaml_config()),
        repr(vars(task)),
        task.resources.describe(),
    ]
    if task.service:
        parts += [
            str(task.service.to_yaml_config()),
            repr(task.service.readiness_probe),
            str(task.service.readiness_probe),
        ]
    return "\n".join(parts)


def test_nothing_shows_a_secret_and_everything_gets_it() -> None:
    task = Task.from_yaml_str(TEMPLATE.format(secret=SECRET))
    assert SECRET not in shown(task)
    assert REDACTED in task.to_yaml()
    assert task.workdir == f"/w/{SECRET}"
    assert task.resources.image_id == f"docker:registry/{SECRET}"
    assert task.file_mounts[f"/a/{SECRET}"] == f"s3://bucket/{SECRET}"
    assert task.service is not None
    assert task.service.readiness_probe.headers == {"Authorization": f"Bearer {SECRET}"}
    assert task.service.readiness_probe.post_data == {"key": SECRET}
    assert task.run == "echo $TOKEN"
    assert task.reveal_secrets() == {"TOKEN": SECRET}
    assert SECRET in task.to_yaml(redact=False)


def test_a_redacted_task_asks_for_its_secrets() -> None:
    task = Task.from_yaml_str(TEMPLATE.format(secret=SECRET))
    with pytest.raises(SpecError, match="TOKEN has no value"):
        Task.from_yaml_str(task.to_yaml())
    assert Task.from_yaml_str(task.to_yaml(), secrets={"TOKEN": SECRET}) == task


def test_a_copy_keeps_secrets_hidden() -> None:
    task = pickle.loads(pickle.dumps(Task.from_yaml_str(TEMPLATE.format(secret=SECRET))))
    assert task.reveal_secrets() == {"TOKEN": SECRET}
    assert SECRET not in shown(task)
    changed = task.with_overrides(name="other", resources={"cpus": "4"}, env={"A": "b"})
    assert SECRET not in shown(changed)
    assert changed.reveal_secrets() == {"TOKEN": SECRET}
    renewed = task.with_overrides(secrets={"TOKEN": "another-one"})
    assert renewed.workdir == "/w/another-one"


@pytest.mark.parametrize(
    "text",
    [
        "workdir: {url: $S, reff: x}",
        "service: {readiness_probe: /, replicas: $S}",
        "service: {readiness_probe: {path: $S}}",
        "service: {readiness_probe: {path: /, headers: {a: [$S]}}}",
        'service: {readiness_probe: {path: /, timeout_seconds: "a $S"}}',
        "service: {readiness_probe: /, load_balancing_policy: $S}",
        "service: {readiness_probe: /, $S: 3}",
        "service: {readiness_probe: /, replica_policy: {min_replicas: 1, target_qps_per_replica: {$S: x}}}",
        "service: {readiness_probe: /, ports: $S}",
        "service: $S",
        "file_mounts: {/a: {name: b, mode: $S}}",
        "file_mounts: {/a: {name: b, store: $S}}",
        "file_mounts: {/a: {name: b, persistent: $S}}",
        "file_mounts: {/a/$S: [x]}",
        "file_mounts: {/a/$S: {mode: x}}",
        "file_mounts: {/a: {$S: x}}",
        "file_mounts: $S",
        "resources: {image_id: {a: 3, b: $S}}",
        "resources: {image_id: {a: 'x $S'}}",
        "resources: {any_of: [{image_id: 'x $S'}]}",
        "secrets: {$S: x}",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "xQz", "Ünïcode-Ä", "two  words", "-17", "1.5", "sp\nlit"])
def test_no_error_quotes_a_secret(text: str, secret: str) -> None:
    with pytest.raises(SpecError) as caught:
        Task.from_yaml_str(text, secrets={"S": secret})
    said = f"{caught.value} {caught.value.hint} {caught.value.to_dict()}"
    for form in {secret, secret.lower(), secret.upper(), repr(secret)[1:-1]}:
        if form not in {"1.5", "-17"}:
            assert form not in said
    assert caught.value.line == 1


@pytest.mark.parametrize(
    "value",
    [
        "*hunter2",
        "&hunter2",
        "!hunter2 x",
        "'hunter2",
        "%hunter2",
        "@hunter2",
        "{hunter2",
        "- hunter2: ]",
        "[hunter2]",
        "{hunter2: x}",
        "hunter2: hunter2: x",
        "\thunter2",
    ],
)
def test_no_syntax_error_quotes_a_secret(value: str) -> None:
    with pytest.raises(SpecError) as caught:
        Task.from_yaml_str(f"run: x\nsecrets:\n  A: {value}\n  B: *undefined\n")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@given(st.text(string.ascii_letters + string.digits, min_size=10, max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_secret_stays_hidden(text: str) -> None:
    secret = f"zqx{text}"  # begins as no word of ours does: hypothesis likes to draw the names in our code
    assert secret not in shown(Task.from_yaml_str(TEMPLATE.format(secret=f'"\N{CURRENCY SIGN}{secret}"')))


def test_a_variable_given_for_a_secret_is_a_secret() -> None:
    task = Task.from_yaml_str("secrets: {A: }\nrun: x", env={"A": SECRET})
    assert task.reveal_secrets() == {"A": SECRET}
    assert task.envs == {}
    task = Task.from_yaml_str("envs: {A: plain}\nrun: x", secrets={"A": SECRET})
    assert task.reveal_secrets() == {"A": SECRET}
    assert task.envs == {}


def test_substitution_is_done_where_it_belongs(tmp_path: Path) -> None:
    task = Task.from_yaml_str(
        "envs: {A: one, B: $A}\nworkdir: $A/${A}x/$HOME/$Ax\nsetup: echo $A\nrun: echo ${A}\n"
        "resources: {instance_type: $A, image_id: img-$A}\nevent_callback: $A\nvolumes: {/m: $A}"
    )
    assert task.workdir == "one/onex/$HOME/$Ax"
    assert (task.setup, task.run, task.event_callback) == ("echo $A", "echo ${A}", "$A")
    assert task.resources == Resources(instance_type="$A", image_id="img-one")
    assert task.volumes == {"/m": "$A"}
    assert task.envs == {"A": "one", "B": "$A"}


def test_redact_text() -> None:
    assert redact_text(f"a {SECRET} b", {"A": SECRET, "B": "b"}) == f"a {REDACTED} b"
