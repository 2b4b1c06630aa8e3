"""Several tasks in one YAML text, run one after the other by `jobs launch`.

The documents are separated by `---`; the first may hold nothing but the `name` of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_sky.spec.dump import dump_yaml
from jupyter_sky.spec.loader import load_some_documents, read_text
from jupyter_sky.spec.task import Task

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Tasks that run one after the other; `name` is the name of the whole, if it has one."""

    tasks: tuple[Task, ...]
    name: str | None = None

    def to_yaml(self, *, redact: bool = True) -> str:
        """Give the pipeline as YAML; a name of its own is a document of its own."""
        named = self.name is not None and (len(self.tasks) > 1 or self.name != self.tasks[0].name)
        head = [{"name": self.name}] if named else []
        return dump_yaml(*head, *(task.to_yaml_config(redact=redact) for task in self.tasks))


def parse_pipeline(
    text: str,
    file: str | None = "<task>",
    *,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Pipeline:
    """Read a pipeline, or a single task, from a text; `file` is what errors call it.

    Raises
    ------
    SpecError
        With the file and the line.
    """
    documents = load_some_documents(text, file)
    tasks = []
    name = None
    if len(documents) > 1 and isinstance(documents[0].data, dict) and documents[0].data.keys() == {"name"}:
        name = Task.from_document(documents.pop(0)).name
    for document in documents:
        tasks.append(Task.from_document(document, env=env, secrets=secrets))
    return Pipeline(tuple(tasks), name or tasks[0].name)


def load_pipeline(
    path: str | os.PathLike[str],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Pipeline:
    """Read a pipeline, or a single task, from a file."""
    return parse_pipeline(read_text(path), str(path), env=env, secrets=secrets)


def load_tasks(
    path: str | os.PathLike[str],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> list[Task]:
    """Read the tasks of a file, one or many; `env` and `secrets` are what the command line gives to each."""
    return list(load_pipeline(path, env=env, secrets=secrets).tasks)
