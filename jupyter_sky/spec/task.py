"""`Task`: what people write, hold and change.

A task keeps its configuration as it was written, with `$NAME` in it, beside the checked model with
variables filled in. What is shown, stored or sent comes from the former, so that a secret cannot leave with
it; what is run comes from the latter.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr, ValidationError

from jupyter_sky.errors import SpecError
from jupyter_sky.spec.dump import dump_yaml
from jupyter_sky.spec.given import plain_config, resources_config, script_text, variables_apart
from jupyter_sky.spec.loader import load_some_documents, read_text
from jupyter_sky.spec.model import TaskModel
from jupyter_sky.spec.overrides import override_resources, override_value
from jupyter_sky.spec.problems import Source, kind_of, spec_error
from jupyter_sky.spec.redact import REDACTED, redact_text
from jupyter_sky.spec.substitution import substitute
from jupyter_sky.spec.variables import merge_variables

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from jupyter_sky.spec.config_overrides import ConfigOverrides
    from jupyter_sky.spec.loader import Document
    from jupyter_sky.spec.model import GitWorkdir
    from jupyter_sky.spec.resources import Resources
    from jupyter_sky.spec.service import PoolSpec, ServiceSpec
    from jupyter_sky.spec.storage import Storage, Volume

_MAX_SHOWN = 60


class Task:
    """What to run, with what, on what.

    Parameters
    ----------
    name
        The task's name (a DNS-1123 label).
    setup, run
        Shell scripts; lists of commands are joined by line ends.
    envs, secrets
        Environment variables; secrets are never shown.
    workdir
        A local folder, or `{"url": …, "ref": …}` of a git repository.
    num_nodes
        How many nodes.
    file_mounts
        Paths of the nodes, and what is there: a local path, a bucket's address, or a `Storage`.
    resources
        A `Resources`, a mapping, a list of them (in order of preference) or a set of them (any will do).
    **more
        Every other key of a task's YAML: `service`, `pool`, `volumes`, `config`, `event_callback`, `inputs`,
        `outputs`.

    Raises
    ------
    SpecError
        If anything is not what a task may hold.
    """

    _config: dict[str, Any]
    _envs: dict[str, str]
    _secrets: dict[str, SecretStr]
    _model: TaskModel
    _source: Source

    def __init__(
        self,
        name: str | None = None,
        *,
        setup: str | Sequence[str] | None = None,
        run: str | Sequence[str] | None = None,
        envs: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
        workdir: str | os.PathLike[str] | Mapping[str, str] | GitWorkdir | None = None,
        num_nodes: int | None = None,
        file_mounts: Mapping[str, Any] | None = None,
        resources: Any = None,
        service: ServiceSpec | Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        given = {
            "name": name,
            "workdir": workdir,
            "num_nodes": num_nodes,
            "resources": resources_config(resources),
            "file_mounts": file_mounts,
            "setup": script_text(setup),
            "run": script_text(run),
            "service": service,
            **more,
        }
        self._set(plain_config(given) | {"envs": envs, "secrets": secrets}, Source())

    @classmethod
    def from_yaml(
        cls,
        path: str | os.PathLike[str],
        *,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a task from a file.

        Parameters
        ----------
        path
            A YAML file with one task.
        env, secrets
            What the command line gives beside the file's own, and before it.
        """
        return cls.from_yaml_str(read_text(path), file=str(path), env=env, secrets=secrets)

    @classmethod
    def from_yaml_str(
        cls,
        text: str,
        file: str | None = "<task>",
        *,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a task from a text; `file` is what errors call it."""
        documents = load_some_documents(text, file)
        if len(documents) > 1:
            second = documents[1].source.line_of(())
            raise SpecError(
                f"a pipeline of {len(documents)} documents stands where one task is wanted",
                file=file,
                line=second,
                hint="A cluster runs one task at a time; keep one document, or a file for each.",
            )
        return cls.from_document(documents[0], env=env, secrets=secrets)

    @classmethod
    def from_yaml_config(
        cls, config: Any, *, env: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None
    ) -> Self:
        """Make a task of plain data, such as `to_yaml_config` gives."""
        if not isinstance(config, dict):
            raise SpecError(f"a task is a mapping, not {kind_of(config)}")
        return cls._make(variables_apart(config), Source(), env, secrets)

    @classmethod
    def from_document(
        cls,
        document: Document,
        *,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a task of one document of a YAML text."""
        if not isinstance(document.data, dict):
            raise document.source.error(
                (),
                f"a task is a mapping ('key: value' lines), not {kind_of(document.data)}",
                hint="Begin with 'run: |'.",
            )
        return cls._make(document.data, document.source, env, secrets)

    @classmethod
    def _make(
        cls,
        config: dict[str, Any],
        source: Source,
        env: Mapping[str, Any] | None,
        secrets: Mapping[str, Any] | None,
    ) -> Self:
        return cls._set(cls.__new__(cls), config, source, env, secrets)

    def _set(
        self,
        config: dict[str, Any],
        source: Source,
        env: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
    ) -> Self:
        """Check a configuration and take it over; on an error the task stays as it was."""
        envs, hidden = merge_variables(config, env or {}, secrets or {}, source)
        written = {
            key: value
            for key, value in config.items()
            if key not in {"envs", "secrets"} and value is not None
        }
        filled = substitute(written, envs, hidden)
        try:
            model = TaskModel.model_validate(filled)
        except ValidationError as error:
            problem = spec_error(error, filled, source=source)
            problem.message = redact_text(problem.message, hidden)
            problem.hint = redact_text(problem.hint, hidden) if problem.hint else None
            raise problem from None
        self._config, self._envs, self._model, self._source = written, envs, model, source
        self._secrets = {name: SecretStr(value) for name, value in hidden.items()}
        return self

    @property
    def name(self) -> str | None:
        """The task's name, if it has one."""
        return self._model.name

    @property
    def setup(self) -> str | None:
        """The script that prepares a node."""
        return self._model.setup

    @property
    def run(self) -> str | None:
        """The script that is the job."""
        return self._model.run

    @property
    def num_nodes(self) -> int:
        """How many nodes."""
        return self._model.num_nodes

    @property
    def envs(self) -> dict[str, str]:
        """The environment variables, without the secrets."""
        return dict(self._envs)

    @property
    def secrets(self) -> dict[str, SecretStr]:
        """The secrets, each behind `get_secret_value()`."""
        return dict(self._secrets)

    @property
    def workdir(self) -> str | GitWorkdir | None:
        """The local folder that nodes get, or the repository that they clone."""
        return self._model.workdir

    @property
    def file_mounts(self) -> dict[str, str | Storage]:
        """Paths of the nodes, and what is there."""
        return dict(self._model.file_mounts or {})

    @property
    def volumes(self) -> dict[str, str | Volume]:
        """Paths of the nodes, and the volumes there."""
        return dict(self._model.volumes or {})

    @property
    def resources(self) -> Resources:
        """What each node must have, alternatives included."""
        return self._model.resources

    @property
    def service(self) -> ServiceSpec | None:
        """How the task is kept running behind an endpoint, if it is."""
        return self._model.service

    @property
    def pool(self) -> PoolSpec | None:
        """How many workers are kept ready, if any."""
        return self._model.pool

    @property
    def config(self) -> ConfigOverrides | None:
        """Settings of infras for this task alone."""
        return self._model.config

    @property
    def event_callback(self) -> str | None:
        """The script that runs when a managed job's state changes."""
        return self._model.event_callback

    @property
    def inputs(self) -> dict[str, float]:
        """Addresses of what the task reads, with sizes in GB."""
        return dict(self._model.inputs or {})

    @property
    def outputs(self) -> dict[str, float]:
        """Addresses of what the task writes, with sizes in GB."""
        return dict(self._model.outputs or {})

    @property
    def source_file(self) -> str | None:
        """The file that the task was read from, if it was."""
        return self._source.file

    def reveal_secrets(self) -> dict[str, str]:
        """Give the values of the secrets: for the environment of the task and nothing else."""
        return {name: value.get_secret_value() for name, value in self._secrets.items()}

    def resources_alternatives(self) -> tuple[list[Resources], bool]:
        """Give every concrete resources that will do, and whether their order is one of preference."""
        return self.resources.alternatives()

    def to_yaml_config(self, *, redact: bool = True) -> dict[str, Any]:
        """Give the task as plain data that YAML and JSON can carry.

        Parameters
        ----------
        redact
            Whether secrets are given as `<redacted>`, which counts as not given when it is read again.
            Variables are not filled in either way, so no other field holds a secret.
        """
        config = copy.deepcopy(self._config)
        if self._envs:
            config["envs"] = dict(self._envs)
        if self._secrets:
            config["secrets"] = dict.fromkeys(self._secrets, REDACTED) if redact else self.reveal_secrets()
        return {key: config[key] for key in TaskModel.model_fields if key in config}

    def to_yaml(self, *, redact: bool = True) -> str:
        """Give the task as YAML; see `to_yaml_config`."""
        return dump_yaml(self.to_yaml_config(redact=redact))

    def with_overrides(
        self,
        *,
        name: str | None = None,
        num_nodes: int | str | None = None,
        workdir: str | os.PathLike[str] | None = None,
        resources: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Self:
        """Give a task changed by the options of a command line; the one at hand is unchanged.

        Parameters
        ----------
        name, num_nodes, workdir
            In place of the task's own; None is not given.
        resources
            Fields of the resources and the option's text for each; None is not given. They hold for every
            alternative, and 'none' takes a field away.
        env, secrets
            Added to the task's own.

        Raises
        ------
        SpecError
            Naming the option that is wrong.
        """
        config = self._full_config()
        for field, value in (("name", name), ("num_nodes", num_nodes), ("workdir", workdir)):
            if value is not None:
                config[field] = override_value(TaskModel, field, value)
        if resources:
            config["resources"] = override_resources(config.get("resources") or {}, resources)
        return self._make(config, self._source, env, secrets)

    def set_resources(self, resources: Any) -> Self:
        """Put other resources in place: a `Resources`, a mapping, a list or a set of them."""
        return self._change(resources=resources_config(resources))

    def set_file_mounts(self, file_mounts: Mapping[str, Any] | None) -> Self:
        """Put other file mounts in place."""
        return self._change(file_mounts=file_mounts)

    def update_file_mounts(self, file_mounts: Mapping[str, Any]) -> Self:
        """Add file mounts to the task's own."""
        return self._change(file_mounts={**self._config.get("file_mounts", {}), **file_mounts})

    def set_service(self, service: ServiceSpec | Mapping[str, Any] | None) -> Self:
        """Put another service in place."""
        return self._change(service=service)

    def update_envs(self, envs: Mapping[str, Any]) -> Self:
        """Add environment variables to the task's own."""
        return self._set(self._full_config(), self._source, envs)

    def update_secrets(self, secrets: Mapping[str, Any]) -> Self:
        """Add secrets to the task's own."""
        return self._set(self._full_config(), self._source, None, secrets)

    def _change(self, **changed: Any) -> Self:
        # What was changed in Python stands in no file, so errors name none.
        return self._set(self._full_config() | plain_config(changed), Source())

    def _full_config(self) -> dict[str, Any]:
        return copy.deepcopy(self._config) | {"envs": dict(self._envs), "secrets": dict(self._secrets)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Task):
            return NotImplemented
        return self._compared() == other._compared()

    def _compared(self) -> tuple[Any, ...]:
        return self._model, self._envs, self.reveal_secrets()

    __hash__ = None  # type: ignore[assignment]  # a task can be changed

    def __repr__(self) -> str:
        shown: dict[str, Any] = {"name": self.name, "run": self.run, "num_nodes": self.num_nodes}
        if isinstance(self.run, str):
            line = " ".join(self.run.split())
            shown["run"] = line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 3] + "..."
        parts = [f"{key}={value!r}" for key, value in shown.items() if value is not None]
        return f"Task({', '.join([*parts, f'resources={self.resources!r}'])})"
