"""The words of a task: checked models of its YAML, from YAML, from Python and back.

Importing this costs pydantic and PyYAML, so nothing that must start at once imports it at module level. It
knows no infra, no state and no network: whether a machine exists that fits is not its business.
"""

from jupyter_sky.spec.accelerators import Accelerators
from jupyter_sky.spec.autostop import Autostop, JobRecovery
from jupyter_sky.spec.config_overrides import ConfigOverrides
from jupyter_sky.spec.env import parse_env_file, parse_env_option
from jupyter_sky.spec.infra_path import InfraPath
from jupyter_sky.spec.model import GitWorkdir, task_keys
from jupyter_sky.spec.pipeline import Pipeline, load_pipeline, load_tasks, parse_pipeline
from jupyter_sky.spec.quantities import Quantity
from jupyter_sky.spec.redact import REDACTED, redact_text
from jupyter_sky.spec.resources import Resources
from jupyter_sky.spec.schema import task_json_schema
from jupyter_sky.spec.service import PoolSpec, ReadinessProbe, ReplicaPolicy, ServiceSpec
from jupyter_sky.spec.storage import Storage, Volume
from jupyter_sky.spec.task import Task

__all__ = [
    "REDACTED",
    "Accelerators",
    "Autostop",
    "ConfigOverrides",
    "GitWorkdir",
    "InfraPath",
    "JobRecovery",
    "Pipeline",
    "PoolSpec",
    "Quantity",
    "ReadinessProbe",
    "ReplicaPolicy",
    "Resources",
    "ServiceSpec",
    "Storage",
    "Task",
    "Volume",
    "load_pipeline",
    "load_tasks",
    "parse_env_file",
    "parse_env_option",
    "parse_pipeline",
    "redact_text",
    "task_json_schema",
    "task_keys",
]
