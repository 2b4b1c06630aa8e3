"""What a task needs from a node, and where it may run.

A `Resources` may hold alternatives (`any_of`, `ordered`, several accelerators); `alternatives()` expands
them into concrete ones, each with at most one accelerator. Which machine fits is the optimizer's business,
not ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from jupyter_sky.spec.accelerators import Accelerators, AcceleratorsField, same_name, show_accelerator
from jupyter_sky.spec.autostop import AutostopField, JobRecoveryField
from jupyter_sky.spec.base import Flag, NonEmpty, SpecModel, Text, number_type, whole_type, word_type
from jupyter_sky.spec.infra_path import Infra, InfraPath, check_cloud, check_place
from jupyter_sky.spec.ports import Ports, show_ports
from jupyter_sky.spec.problems import FieldError, quote
from jupyter_sky.spec.quantities import Cpus, Memory, SizeGb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_sky.spec.quantities import Quantity

DISK_TIERS = ("low", "medium", "high", "ultra", "best", "none")
_MAX_ALTERNATIVES = 200


def _image_id(value: object) -> str | dict[str, str]:
    if isinstance(value, dict):
        if not value or not all(isinstance(key, str) and key for key in value):
            raise FieldError("must map regions to images")
        return {key: _image_name(item) for key, item in value.items()}
    return _image_name(value)


def _image_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or any(char.isspace() for char in value):
        raise FieldError(f"must be an image such as 'docker:python:3.12', not {quote(value)}")
    return value


class AcceleratorArgs(SpecModel):
    """Particulars of TPUs."""

    runtime_version: NonEmpty | None = Field(default=None, description="Version of the TPU's software.")
    tpu_name: NonEmpty | None = Field(default=None, description="Name to give the TPU.")
    tpu_vm: Flag | None = Field(default=None, description="Whether the TPU is a machine of its own.")
    gcp_queued_resource: Flag | None = Field(
        default=None, description="Ask for the TPU as a queued resource."
    )


class DiskVolume(SpecModel):
    """One more disk for each node."""

    path: NonEmpty | None = Field(default=None, description="Where the disk is mounted on the node.")
    name: NonEmpty | None = Field(default=None, description="An existing disk to attach.")
    size: SizeGb | None = Field(default=None, description="Size of a new disk in GB.")
    disk_tier: Annotated[str, *word_type(*DISK_TIERS)] | None = Field(
        default=None, description="How fast it is."
    )
    storage_type: Annotated[str, *word_type("network", "instance")] | None = Field(
        default=None, description="A disk over the network, or one inside the machine."
    )
    attach_mode: Annotated[str, *word_type("read_write", "read_only")] | None = Field(
        default=None, description="Whether the node may write to it."
    )
    auto_delete: Flag | None = Field(default=None, description="Whether it is deleted with the cluster.")


class Resources(SpecModel):
    """What one node must have, and where nodes may come from. All sizes are per node."""

    other_keys: ClassVar[frozenset[str]] = frozenset({"cloud", "region", "zone"})

    infra: Infra | None = Field(
        default=None,
        description="Where: local, kubernetes[/context], aws[/region[/zone]], gcp[/region[/zone]].",
    )
    accelerator_choices: AcceleratorsField | None = Field(
        default=None,
        alias="accelerators",
        description="GPUs or TPUs per node: 'A100:8', {A100: 8, H100: 8} for any, a list for an order.",
    )
    accelerator_args: AcceleratorArgs | None = Field(default=None, description="Particulars of TPUs.")
    cpus: Cpus | None = Field(
        default=None, description="CPUs per node: 4 for exactly four, '4+' for four or more."
    )
    memory: Memory | None = Field(
        default=None, description="Memory per node in GiB: 16, '16+', or '4x' for 4 GiB for each CPU."
    )
    instance_type: NonEmpty | None = Field(
        default=None, description="The name of a machine type of the infra."
    )
    use_spot: Flag | None = Field(default=None, description="Whether to use spot (preemptible) machines.")
    job_recovery: JobRecoveryField | None = Field(
        default=None, description="How a managed job recovers: a strategy's name or a mapping."
    )
    disk_size: SizeGb | None = Field(default=None, description="Size of the system disk in GB.")
    disk_tier: Annotated[str, *word_type(*DISK_TIERS)] | None = Field(
        default=None, description="How fast it is."
    )
    network_tier: Annotated[str, *word_type("standard", "best")] | None = Field(
        default=None, description="How fast the network between nodes is."
    )
    local_disk: NonEmpty | None = Field(
        default=None,
        description="A disk inside the machine: 'nvme' or 'ssd', with a size as in 'nvme:1000+'.",
    )
    ephemeral_storage: SizeGb | None = Field(default=None, description="GB of scratch space in a pod.")
    max_hourly_cost: Annotated[float, *number_type(0)] | None = Field(
        default=None, description="The most a node may cost in US dollars per hour."
    )
    ports_or_none: Ports | None = Field(
        default=None, alias="ports", description="Ports to open: 8080, '8000-8010', or a list."
    )
    image_id: (
        Annotated[
            str | dict[str, str],
            PlainValidator(_image_id),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "string", "minLength": 1},
                        {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
                    ]
                }
            ),
        ]
        | None
    ) = Field(default=None, description="The image: 'docker:NAME', an infra's own image, or {region: image}.")
    labels_or_none: dict[str, Text] | None = Field(
        default=None, alias="labels", description="Labels (tags) for everything that is made."
    )
    priority: Annotated[int, *whole_type(-1000, 1000)] | None = Field(
        default=None, description="Among managed jobs, higher goes first."
    )
    priority_class: NonEmpty | None = Field(default=None, description="A Kubernetes PriorityClass.")
    volumes: list[DiskVolume] | None = Field(default=None, description="More disks for each node.")
    autostop: AutostopField = Field(
        default=None,
        description="When the cluster stops by itself: minutes, '10m', true, false or a mapping.",
    )
    any_of: tuple[Resources, ...] | None = Field(
        default=None,
        description="Alternatives; each changes some of the keys beside it. The cheapest is taken.",
    )
    ordered: tuple[Resources, ...] | None = Field(
        default=None, description="Alternatives, in order of preference."
    )

    @classmethod
    def _prepare(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Turn `cloud`, `region` and `zone` into `infra`, and check what does not go together."""
        older = {key: data.pop(key) for key in ("cloud", "region", "zone") if key in data}
        if older:
            said = _older_infra(older)
            given = InfraPath.parse(data["infra"]) if "infra" in data else InfraPath()
            both = given.merged(said)
            if both is None:
                shown = " and ".join(f"{key}: {quote(value)}" for key, value in older.items())
                raise FieldError(
                    f"says {given}, which contradicts {shown}",
                    key="infra",
                    hint="Keep `infra` and leave out `cloud`, `region` and `zone`.",
                )
            data["infra"] = both
        if "any_of" in data and "ordered" in data:
            raise FieldError(
                "cannot stand beside `any_of`", key="ordered", hint="Keep the one that you mean."
            )
        for key in ("any_of", "ordered"):
            _check_alternatives(key, data.get(key))
        return data

    @property
    def accelerators(self) -> dict[str, float]:
        """The accelerators that are wanted and how many; {} for none, several where any of them will do."""
        return dict(self.accelerator_choices.choices) if self.accelerator_choices else {}

    @property
    def ports(self) -> list[int]:
        """Every port that is to be open."""
        return list(self.ports_or_none or ())

    @property
    def labels(self) -> dict[str, str]:
        """The labels that everything made for the cluster gets."""
        return dict(self.labels_or_none or {})

    @property
    def cloud(self) -> str | None:
        """The infra's name, if one was given."""
        return self.infra.cloud if self.infra else None

    @property
    def region(self) -> str | None:
        """The region, or the Kubernetes context, if one was given."""
        return self.infra.region if self.infra else None

    @property
    def zone(self) -> str | None:
        """The zone, if one was given."""
        return self.infra.zone if self.infra else None

    def to_yaml_config(self, *, redact: bool = True) -> dict[str, Any]:
        """Give what was set as plain data; reading it back gives equal resources."""
        config = super().to_yaml_config(redact=redact)
        if self.ports_or_none is not None:
            config["ports"] = show_ports(self.ports_or_none)
        if "autostop" in self.model_fields_set and self.autostop is None:
            config["autostop"] = False
        return config

    def alternatives(self) -> tuple[list[Resources], bool]:
        """Expand into concrete resources.

        Returns
        -------
        tuple
            The alternatives, each with at most one accelerator and no `any_of` or `ordered`; and whether
            their order is one of preference.
        """
        ordered = self.ordered is not None
        found: dict[Resources, None] = {}
        for one in self.ordered or self.any_of or (None,):
            merged = self._merged(one)
            choices = merged.accelerator_choices
            ordered = ordered or bool(choices and choices.ordered)
            for choice in choices.choices if choices else ():
                found[merged.copy_with(accelerator_choices=Accelerators((choice,)))] = None
            if choices is None:
                found[merged] = None
        return list(found), ordered

    def _merged(self, change: Resources | None) -> Resources:
        base = self.copy_with(any_of=None, ordered=None)
        if change is None:
            return base
        changed = {name: getattr(change, name) for name in change.model_fields_set}
        if change.infra and change.infra.cloud is None and self.infra:
            changed["infra"] = InfraPath(
                self.infra.cloud,
                change.infra.region or self.infra.region,
                change.infra.zone or self.infra.zone,
            )
        return base.copy_with(**changed)

    def copy_with(self, **changed: Any) -> Resources:
        """Copy with some fields replaced by values that are known to be good; None unsets a field.

        Unlike making new resources, nothing is read or checked: the values are those that the fields hold.
        """
        values = {name: getattr(self, name) for name in self.model_fields_set} | changed
        kept = {name: value for name, value in values.items() if value is not None}
        return type(self).model_construct(
            _fields_set=set(kept), **{self._key(name): value for name, value in kept.items()}
        )

    @classmethod
    def _key(cls, name: str) -> str:
        return cls.model_fields[name].alias or name

    def describe(self, num_nodes: int = 1) -> str:
        """Say it in a table's cell: '2x[T4:1]', '1x[CPU:2+]', '1x[A100:8][Spot]'."""
        if self.accelerator_choices:
            what = str(self.accelerator_choices)
        elif self.instance_type:
            what = self.instance_type
        elif self.cpus:
            what = f"CPU:{self.cpus}"
        elif self.memory:
            what = f"Mem:{self.memory}"
        else:
            what = "CPU"
        return f"{num_nodes}x[{what}]" + ("[Spot]" if self.use_spot else "")

    def fits_within(self, other: Resources) -> str | None:
        """Tell why a job that asks for this cannot run on a cluster made as `other`; None if it can.

        Both are concrete. What the cluster was not asked for (its CPUs, say) cannot be judged here and is let
        pass; its nodes judge it when the job is queued.
        """
        if self.infra and other.infra and not self.infra.within(other.infra):
            return f"it asks for {self.infra}, and the cluster is in {other.infra}"
        for name, count in self.accelerators.items():
            have = next((n for known, n in other.accelerators.items() if same_name(known, name)), 0.0)
            if have < count:
                what = show_accelerator(name, count)
                found = other.accelerator_choices or "no accelerator"
                return f"it asks for {what} on each node, and a node has {found}"
        if self.instance_type and other.instance_type and self.instance_type != other.instance_type:
            return f"it asks for {self.instance_type}, and the nodes are {other.instance_type}"
        cpus = other.cpus.value if other.cpus else None
        for what, mine, theirs in (
            ("CPUs", self.cpus, other.cpus),
            ("GiB of memory", self.memory, other.memory),
        ):
            wanted, given = _amount(mine, cpus), _amount(theirs, cpus)
            if theirs and wanted and given and wanted > given and not theirs.at_least:
                return f"it asks for {mine} {what} on each node, and a node has {theirs}"
        if self.use_spot is not None and other.use_spot is not None and self.use_spot != other.use_spot:
            return (
                f"it asks for {_spot(self.use_spot)} machines, and the cluster's are {_spot(other.use_spot)}"
            )
        return None

    def __repr__(self) -> str:
        return f"Resources({', '.join(f'{key}={value!r}' for key, value in self.to_yaml_config().items())})"

    __str__ = __repr__


def _amount(quantity: Quantity | None, cpus: float | None) -> float | None:
    """Give how much is wanted of a node with so many CPUs; None where that cannot be known."""
    if quantity is None or (quantity.per_cpu and cpus is None):
        return None
    return quantity.value * (cpus or 1.0) if quantity.per_cpu else quantity.value


def _spot(use_spot: bool) -> str:
    return "spot" if use_spot else "on-demand"


def _older_infra(older: Mapping[Any, Any]) -> InfraPath:
    """Read `cloud`, `region` and `zone`; the first that is wrong is named."""
    found: dict[str, str | None] = {}
    for key, value in older.items():
        try:
            found[key] = check_cloud(value) if key == "cloud" else check_place(value)
        except FieldError as error:
            raise FieldError(error.message, key=key, hint=error.hint) from None
    return InfraPath(found.get("cloud"), found.get("region"), found.get("zone"))


def _check_alternatives(key: str, items: Any) -> None:
    """Refuse alternatives that are none, or are inside alternatives."""
    if items is None:
        return
    if not isinstance(items, (list, tuple)) or not items:
        raise FieldError(f"must be a list of resources, not {quote(items)}", key=key)
    if len(items) > _MAX_ALTERNATIVES:
        raise FieldError(f"holds more than {_MAX_ALTERNATIVES} alternatives", key=key)
    for item in items:
        if isinstance(item, dict) and any(item.get(inner) is not None for inner in ("any_of", "ordered")):
            raise FieldError("cannot hold alternatives inside alternatives", key=key)
