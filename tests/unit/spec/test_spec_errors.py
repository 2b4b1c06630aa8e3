"""What is wrong with a text is said with its line, and with the word that was meant."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import Task, load_tasks, parse_pipeline

if TYPE_CHECKING:
    from pathlib import Path


def refused(text: str, **more: dict[str, str]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        Task.from_yaml_str(text, "task.yaml", **more)
    assert caught.value.file == "task.yaml"
    assert caught.value.line is not None
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("name: a\nrunn: x", 2, "unknown key 'runn'", "'run'"),
        ("resources:\n  cpus: 2\n  acelerators: T4", 3, "'acelerators' in `resources`", "'accelerators'"),
        ("resources:\n  any_of:\n    - cpus: 2\n    - cpu: 2", 4, "`resources.any_of[1]`", "'cpus'"),
        (
            "service:\n  readiness_probe:\n    path: /\n    initial_delay: 3",
            4,
            "initial_delay",
            "initial_delay_seconds",
        ),
        ("service:\n  replicas: 3", 1, "`service.readiness_probe` is missing", None),
        ("run: [a]", 1, "`run` must be a text, not a list", None),
        ("num_nodes: two", 1, "`num_nodes` must be a number, not 'two'", None),
        ("\nnum_nodes: 0", 2, "at least 1|from 1", None),
        ("resources:\n  accelerators: A100:x", 2, "'A100:x'", "NAME:COUNT"),
        ("resources: T4", 1, "must be a mapping", None),
        ("resources: [{cpus: 1}]", 1, "must be a mapping", "any_of"),
        ("a: 1\n\na: 2", 3, "a second time; the first is on line 1", None),
        ("resources:\n  infra: aws\n  cloud: gcp", 2, "contradicts", "infra"),
        ("name: My_Task", 1, "DNS-1123", "'my-task'"),
        ("envs:\n  A: 1\n  9x: 2", 3, "cannot name an environment variable", None),
        ("envs:\n  A: [1]", 2, "`envs.A` must be a text, not a list", None),
        ("envs: [A]", 1, "`envs` must be a mapping", None),
        ("envs: {A: 1}\nsecrets:\n  A: 2", 3, "both `envs` and `secrets`", None),
        ("file_mounts:\n  /a: 3", 2, "a text or a mapping", None),
        ("file_mounts:\n  /a: {mode: copy}", 2, "what to mount", None),
        ("file_mounts:\n  /a:\n    name: b\n    mode: cpoy", 4, "MOUNT, COPY", "'COPY'|None"),
        ("volumes:\n  /a: {sise: 3}", 2, "sise", "'size'"),
        ("config:\n  kubernets: {}", 2, "kubernets", "'kubernetes'"),
        ("- a", 1, "not a list", None),
        ("just a text", 1, "not a text", None),
        ("", 1, "no task", None),
        ("# nothing\n---\n", 1, "no task", None),
        ("run: [", 1, "not valid YAML", None),
        ("run: x\n\ty: 1", 2, "tab", "spaces"),
        ("\trun: x", 1, "tab", "spaces"),
        ("run: a: b", 1, "mapping values", "quotes"),
        ("run: x\n bad: y", 2, "mapping values|block", None),
        ("run: 'x", 1, "not valid YAML", None),
        ('run: "\\UFFFFFFFF"', 1, "no character", None),
        ('run: "\\uD800"', 1, "cannot be stored", None),
        ('run: "a\\0b"', 1, "NUL", None),
        ("a: 1\nrun: \x01", 2, "U+0001", None),
        ("run: !!python/object:os.system x", 1, "tag", None),
        ("run: !mine x", 1, "tag", None),
        ("num_nodes: !!int abc", 1, "tag", None),
        ("num_nodes: " + "9" * 5000, 1, "digits", None),
        ("num_nodes: .inf", 1, "number", None),
        ("? {a: b}\n: c", 1, "a key must be a text", None),
        ("run: *missing", 1, "alias", None),
        ("&a run: x\n<<: 3", 2, "'<<'", None),
        ("%YAML 3.0\n---\nrun: x", 1, "not valid YAML", None),
    ],
)
def test_errors_have_lines(text: str, line: int, message: str, hint: str | None) -> None:
    error = refused(text)
    assert error.line == line, str(error)
    assert message in str(error) or re.search(message, str(error)), str(error)
    if hint:
        assert re.search(hint, str(error.hint)), error.hint


def test_all_problems_are_told_at_once() -> None:
    error = refused("num_nodes: x\nresources:\n  cpus: y\n  memory: z")
    assert error.line == 1
    assert error.hint is not None
    assert "line 3: `resources.cpus`" in error.hint
    assert "line 4: `resources.memory`" in error.hint


def test_a_null_variable_must_be_given() -> None:
    error = refused("run: x\nenvs:\n  A:\n  B: 1\nsecrets:\n  C: null", secrets={"C": "see"})
    assert error.line == 3
    assert error.hint is not None
    assert "--env A=" in error.hint
    error = refused("secrets:\n  C:")
    assert error.hint is not None
    assert "--secret C=" in error.hint
    task = Task.from_yaml_str("envs: {A: }\nsecrets: {C: }", env={"A": "1"}, secrets={"C": "2"})
    assert task.envs == {"A": "1"}
    assert task.reveal_secrets() == {"C": "2"}


def test_lines_of_a_pipeline_count_from_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        parse_pipeline("name: whole\n---\nrun: x\n---\nrun: y\nrum: z\n", "p.yaml")
    assert caught.value.line == 6


def test_merge_keys_and_aliases() -> None:
    task = Task.from_yaml_str(
        "resources: &r {cpus: 2}\nservice: {readiness_probe: /, replicas: 1}\nconfig:\n"
        "  gcp: &g\n    labels: {a: b, c: d}\n  aws:\n    <<: *g\n    vpc_name: v\n"
    )
    assert task.config is not None
    assert task.config.aws is not None
    assert task.config.aws.labels == {"a": "b", "c": "d"}
    error = refused("config:\n  gcp: &g\n    enable_gvnic: true\n  aws:\n    <<: *g\n")
    assert error.line == 3


def test_alias_bombs_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    begun = time.perf_counter()
    assert "aliases" in str(refused("\n".join(lines)))
    assert "holds itself" in str(refused("run: &a [*a]"))
    assert "nested deeper" in str(refused("run: " + "[" * 5000))
    assert "nested deeper" in str(refused("\n".join("  " * n + "a:" for n in range(300))))
    assert time.perf_counter() - begun < 10


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def error(path: Path | str) -> SpecError:
        with pytest.raises(SpecError) as caught:
            load_tasks(path)
        assert caught.value.file == str(path)
        return caught.value

    assert "no such file" in str(error(tmp_path / "none.yaml"))
    assert "folder" in str(error(tmp_path))
    assert "cannot be read" in str(error("a\0b.yaml"))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: a\nrun: caf\xe9\n")
    assert error(latin).line == 2
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (5 << 20))
    assert "larger" in str(error(huge))
    marked = tmp_path / "marked.yaml"
    marked.write_bytes(b"\xef\xbb\xbfname: a\r\nrun: x\r\n")
    assert load_tasks(marked)[0].name == "a"


def test_texts_that_look_like_something_else() -> None:
    task = Task.from_yaml_str(
        "name: 2024\nenvs: {A: 1.10, B: yes, C: 2024-01-01, D: 22:22, E: 010, F: 1e3, G: 0x10, H: ''}\n"
        "run: 2024-01-01\n"
    )
    assert task.name == "2024"
    assert task.run == "2024-01-01"
    assert task.envs == {
        "A": "1.10",
        "B": "yes",
        "C": "2024-01-01",
        "D": "22:22",
        "E": "010",
        "F": "1e3",
        "G": "0x10",
        "H": "",
    }
