"""Buckets and volumes: what a task mounts beside its own files, and what `volumes apply` makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from jupyter_sky.spec.base import Flag, NonEmpty, SpecModel, Text, nonempty, text_or, word_type
from jupyter_sky.spec.infra_path import Infra
from jupyter_sky.spec.problems import FieldError, nearest, quote
from jupyter_sky.spec.quantities import SizeGb

STORES = ("S3", "GCS", "AZURE", "R2", "IBM", "OCI", "NEBIUS", "COREWEAVE", "TIGRIS", "VASTDATA")
MODES = ("MOUNT", "COPY", "MOUNT_CACHED")
ACCESS_MODES = ("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany")
VOLUME_TYPES = ("k8s-pvc", "k8s-hostpath", "runpod-network-volume")


def _sources(value: object) -> str | list[str]:
    if isinstance(value, (list, tuple)):
        if not value:
            raise FieldError("is empty", hint="Leave the key out for an empty bucket.")
        return [nonempty(item) for item in value]
    return nonempty(value)


def _access_mode(value: object) -> str:
    folded = {mode.lower(): mode for mode in ACCESS_MODES}
    if isinstance(value, str) and value.strip().lower() in folded:
        return folded[value.strip().lower()]
    near = nearest(value, ACCESS_MODES) if isinstance(value, str) else None
    hint = f"Did you mean {near!r}?" if near else None
    raise FieldError(f"must be one of {', '.join(ACCESS_MODES)}, not {quote(value)}", hint=hint)


class Storage(SpecModel):
    """A bucket, made or found, at a path of the node."""

    name: NonEmpty | None = Field(default=None, description="The bucket's name; made if it does not exist.")
    source: (
        Annotated[
            str | list[str],
            PlainValidator(_sources),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "string", "minLength": 1},
                        {"type": "array", "items": {"type": "string"}},
                    ]
                }
            ),
        ]
        | None
    ) = Field(default=None, description="What is in it: a local path, several, or the address of a bucket.")
    store: Annotated[str, *word_type(*STORES, upper=True)] | None = Field(
        default=None, description="Which cloud's store it is in."
    )
    mode: Annotated[str, *word_type(*MODES, upper=True)] = Field(
        default="MOUNT", description="Mount it, copy it to the node, or mount it with a cache on disk."
    )
    persistent: Flag = Field(default=True, description="Whether the bucket outlives the task.")

    @model_validator(mode="after")
    def _check(self) -> Storage:
        if self.name is None and self.source is None:
            raise FieldError("says not what to mount", hint="Give the name of a bucket, a source, or both.")
        return self


class VolumeConfig(SpecModel):
    """Particulars of a volume."""

    storage_class_name: NonEmpty | None = Field(default=None, description="A Kubernetes StorageClass.")
    access_mode: (
        Annotated[
            str,
            PlainValidator(_access_mode),
            WithJsonSchema({"type": "string", "enum": [*ACCESS_MODES, *map(str.lower, ACCESS_MODES)]}),
        ]
        | None
    ) = Field(default=None, description="Who may mount it, and how.")
    namespace: NonEmpty | None = Field(default=None, description="The Kubernetes namespace it is in.")
    host_path: NonEmpty | None = Field(
        default=None, description="The folder of the machine, for a host path."
    )


class Volume(SpecModel):
    """A volume, as `volumes apply` makes it, or as a task has one for its own life."""

    name: NonEmpty | None = Field(default=None, description="The volume's name.")
    type: Annotated[str, *word_type(*VOLUME_TYPES)] | None = Field(
        default=None, description="The kind of volume."
    )
    infra: Infra | None = Field(default=None, description="Where it is.")
    size: SizeGb | None = Field(default=None, description="Its size in GB: 100 or '100Gi'.")
    use_existing: Flag | None = Field(
        default=None, description="Whether it is there already and is only registered."
    )
    config: VolumeConfig | None = Field(default=None, description="Particulars of the volume.")
    labels: dict[str, Text] | None = Field(default=None, description="Labels (tags) of the volume.")


if TYPE_CHECKING:
    FileMount = str | Storage
    VolumeMount = str | Volume
else:
    #: What stands at a path in `file_mounts`: a local path, the address of a bucket, or a `Storage`.
    FileMount = text_or(Storage)
    #: What stands at a path in `volumes`: the name of a volume, or a `Volume` for the life of the cluster.
    VolumeMount = text_or(Volume)
