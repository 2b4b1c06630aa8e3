"""The document itself: every key a task may have, each of its type. `Task` is what people hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
)

from jupyter_sky.errors import InvalidNameError
from jupyter_sky.names import MAX_LENGTH, check_name
from jupyter_sky.spec.base import NonEmpty, SpecModel, Text, number_type, text, text_or, whole_type
from jupyter_sky.spec.config_overrides import ConfigOverrides
from jupyter_sky.spec.problems import FieldError, quote
from jupyter_sky.spec.resources import Resources
from jupyter_sky.spec.service import PoolSpec, ServiceSpec
from jupyter_sky.spec.storage import FileMount, VolumeMount


def _task_name(value: object) -> str:
    """Take the name of a task: it names jobs, so it follows their rule."""
    name = text(value)
    try:
        return check_name(name, "task")
    except InvalidNameError as error:
        usable = "-".join(
            filter(None, "".join(c if c.isascii() and c.isalnum() else " " for c in name).lower().split())
        )
        hint = f"Use {usable[:MAX_LENGTH].rstrip('-')!r}." if usable else None
        raise FieldError(f"is refused: {error.message}", hint=hint) from None


class GitWorkdir(SpecModel):
    """A working directory that is cloned on the node."""

    url: NonEmpty = Field(description="The address of the repository.")
    ref: NonEmpty | None = Field(default=None, description="A branch, a tag or a commit.")


if TYPE_CHECKING:
    Workdir = str | GitWorkdir
else:
    #: A local folder, or a repository.
    Workdir = text_or(GitWorkdir)


def _resources(value: object) -> Any:
    if not isinstance(value, (dict, Resources)):
        raise FieldError(
            f"must be a mapping ('key: value' lines), not {quote(value)}",
            hint="Alternatives are written under `any_of` or `ordered`.",
        )
    return value


class TaskModel(SpecModel):
    """A task: what to run, with what, on what."""

    name: (
        Annotated[
            str,
            PlainValidator(_task_name),
            WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
        ]
        | None
    ) = Field(
        default=None, description="The task's name: lower-case letters, digits and hyphens, 63 at most."
    )
    workdir: Workdir | None = Field(
        default=None,
        description="A local folder that is copied to the nodes, or a git repository; `run` begins in it.",
    )
    num_nodes: Annotated[int, *whole_type(1, 100000)] = Field(default=1, description="How many nodes.")
    resources: Annotated[Resources, BeforeValidator(_resources, json_schema_input_type=Resources)] = Field(
        default_factory=Resources, description="What each node must have, and where."
    )
    file_mounts: dict[NonEmpty, FileMount] | None = Field(
        default=None,
        description="Paths of the nodes, and what is there: a local path, a bucket's address, a storage.",
    )
    setup: Text | None = Field(
        default=None, description="A shell script that prepares a node; runs on every node."
    )
    run: Text | None = Field(default=None, description="A shell script that is the job; runs on every node.")
    envs: dict[str, str | None] | None = Field(
        default=None, description="Environment variables; null means that it must be given with --env."
    )
    secrets: dict[str, SecretStr | None] | None = Field(
        default=None,
        description="Like `envs`, and never shown; null means that it must be given with --secret.",
    )
    service: ServiceSpec | None = Field(
        default=None, description="Keep the task running behind one endpoint."
    )
    pool: PoolSpec | None = Field(default=None, description="Keep workers ready for managed jobs.")
    volumes: dict[NonEmpty, VolumeMount] | None = Field(
        default=None, description="Paths of the nodes, and the volumes mounted there."
    )
    config: ConfigOverrides | None = Field(
        default=None, description="Settings of infras for this task alone."
    )
    event_callback: Text | None = Field(
        default=None, description="A shell script that runs when the state of a managed job changes."
    )
    inputs: dict[str, Annotated[float, *number_type(0)]] | None = Field(
        default=None, description="Addresses of what the task reads, with an estimate of their size in GB."
    )
    outputs: dict[str, Annotated[float, *number_type(0)]] | None = Field(
        default=None, description="Addresses of what the task writes, with an estimate of their size in GB."
    )


def task_keys() -> frozenset[str]:
    """Give the keys that a task's YAML may have."""
    return frozenset(TaskModel.key_names())
