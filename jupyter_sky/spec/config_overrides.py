"""The `config` of a task: settings of an infra that hold for this task alone.

A pod's own specification is Kubernetes' language, so it is taken as it is.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from jupyter_sky.spec.base import Flag, NonEmpty, SpecModel, Text, whole_type
from jupyter_sky.spec.quantities import Seconds

_ProvisionTimeout = Annotated[int, *whole_type(-1)]


class DockerConfig(SpecModel):
    """Settings of containers on virtual machines."""

    run_options: list[NonEmpty] | None = Field(default=None, description="More options of `docker run`.")


class CustomMetadata(SpecModel):
    """Labels and annotations for every object that is made."""

    labels: dict[str, Text] | None = Field(default=None, description="Labels.")
    annotations: dict[str, Text] | None = Field(default=None, description="Annotations.")


class DwsConfig(SpecModel):
    """Google's Dynamic Workload Scheduler."""

    enabled: Flag = Field(description="Whether to ask it for nodes.")
    max_run_duration: NonEmpty | None = Field(
        default=None, description="How long nodes are needed: '10m', '2h', '1d'."
    )


class KueueConfig(SpecModel):
    """Kueue, which admits gangs."""

    local_queue_name: NonEmpty | None = Field(default=None, description="The queue that pods are put in.")


class KubernetesConfig(SpecModel):
    """Settings of Kubernetes."""

    pod_config: dict[str, Any] | None = Field(default=None, description="Merged into the pod that is made.")
    custom_metadata: CustomMetadata | None = Field(default=None, description="Labels and annotations.")
    provision_timeout: _ProvisionTimeout | None = Field(
        default=None, description="Seconds to wait for pods to be scheduled; -1 for ever."
    )
    dws: DwsConfig | None = Field(default=None, description="Google's Dynamic Workload Scheduler.")
    kueue: KueueConfig | None = Field(default=None, description="Kueue.")
    namespace: NonEmpty | None = Field(default=None, description="The namespace that pods are made in.")
    service_account: NonEmpty | None = Field(default=None, description="The account that pods run as.")
    set_pod_resource_limits: Flag | None = Field(default=None, description="Limit pods to what they ask for.")


class ManagedInstanceGroup(SpecModel):
    """Machines of Google's managed instance groups."""

    run_duration: Seconds = Field(description="Seconds that the machines are needed.")
    provision_timeout: Seconds | None = Field(default=None, description="Seconds to wait for them.")


class GcpConfig(SpecModel):
    """Settings of Google Cloud."""

    managed_instance_group: ManagedInstanceGroup | None = Field(
        default=None, description="Ask for nodes as a group."
    )
    enable_gvnic: Flag | None = Field(default=None, description="Use Google's virtual network card.")
    enable_gpu_direct: Flag | None = Field(default=None, description="Use GPUDirect between nodes.")
    placement_policy: NonEmpty | None = Field(default=None, description="How nodes are placed: 'compact'.")
    vpc_name: NonEmpty | None = Field(default=None, description="The network that nodes are made in.")
    use_internal_ips: Flag | None = Field(default=None, description="Give nodes no public address.")
    labels: dict[str, Text] | None = Field(default=None, description="Labels for everything that is made.")


class AwsConfig(SpecModel):
    """Settings of Amazon Web Services."""

    vpc_name: NonEmpty | None = Field(default=None, description="The network that nodes are made in.")
    use_internal_ips: Flag | None = Field(default=None, description="Give nodes no public address.")
    security_group_name: NonEmpty | None = Field(default=None, description="The security group of nodes.")
    labels: dict[str, Text] | None = Field(default=None, description="Tags for everything that is made.")


class NvidiaGpusConfig(SpecModel):
    """Settings of NVIDIA's driver."""

    disable_ecc: Flag | None = Field(default=None, description="Switch error correction of the memory off.")


class ConfigOverrides(SpecModel):
    """Settings of infras that hold for this task alone."""

    docker: DockerConfig | None = Field(default=None, description="Containers on virtual machines.")
    kubernetes: KubernetesConfig | None = Field(default=None, description="Kubernetes.")
    ssh: KubernetesConfig | None = Field(default=None, description="Node pools over SSH.")
    aws: AwsConfig | None = Field(default=None, description="Amazon Web Services.")
    gcp: GcpConfig | None = Field(default=None, description="Google Cloud.")
    nvidia_gpus: NvidiaGpusConfig | None = Field(default=None, description="NVIDIA's driver.")
    active_workspace: NonEmpty | None = Field(
        default=None, description="The workspace that the task belongs to."
    )
