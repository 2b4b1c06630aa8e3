"""The `service` and `pool` of a task: how many replicas, how they are probed, how requests are spread."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from jupyter_sky.spec.accelerators import canonical_name
from jupyter_sky.spec.base import Flag, NonEmpty, SpecModel, Text, number, number_type, whole_type, word_type
from jupyter_sky.spec.ports import Port
from jupyter_sky.spec.problems import FieldError, quote
from jupyter_sky.spec.quantities import Seconds

LOAD_BALANCING_POLICIES = ("round_robin", "least_load", "instance_aware_least_load")
SPOT_PLACERS = ("dynamic_fallback",)


def _probe_path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise FieldError(f"must be a path that begins with '/', not {quote(value)}")
    return value


def _post_data(value: object) -> Any:
    if not isinstance(value, (str, dict)):
        raise FieldError(f"must be a mapping or a JSON text, not {quote(value)}")
    return value


def _rate(value: object) -> float | dict[str, float]:
    if isinstance(value, dict):
        if not value:
            raise FieldError("must map accelerators to rates, and is empty")
        return {canonical_name(str(name)): _positive(rate) for name, rate in value.items()}
    return _positive(value)


def _positive(value: object) -> float:
    found = number(value)
    if found <= 0:
        raise FieldError(f"must be more than 0, not {quote(value)}")
    return found


class ReadinessProbe(SpecModel):
    """How a replica shows that it can serve."""

    path: Annotated[
        str, PlainValidator(_probe_path), WithJsonSchema({"type": "string", "pattern": "^[/$]"})
    ] = Field(description="The path that is asked; a status of 200 means ready.")
    initial_delay_seconds: Seconds = Field(
        default=1200.0, description="Seconds a new replica may take to get ready for the first time."
    )
    timeout_seconds: Seconds = Field(default=15.0, description="Seconds one probe may take.")
    endpoint_probe_interval_seconds: Annotated[float, *number_type(1)] = Field(
        default=10.0, description="Seconds from one probe to the next."
    )
    consecutive_failure_threshold_timeout: Seconds = Field(
        default=180.0,
        description="Seconds of failed probes after which a replica that was ready is replaced.",
    )
    post_data: (
        Annotated[
            str | dict[str, Any], PlainValidator(_post_data), WithJsonSchema({"type": ["object", "string"]})
        ]
        | None
    ) = Field(default=None, description="JSON that is posted; without it the probe is a GET.")
    headers: dict[str, Text] | None = Field(default=None, description="Headers of the probe.")


class ReplicaPolicy(SpecModel):
    """How many replicas there are, and when that changes."""

    min_replicas: Annotated[int, *whole_type(0, 10000)] = Field(description="Never fewer replicas than this.")
    max_replicas: Annotated[int, *whole_type(0, 10000)] | None = Field(
        default=None, description="Never more replicas than this; by default as many as `min_replicas`."
    )
    num_overprovision: Annotated[int, *whole_type(0, 10000)] | None = Field(
        default=None, description="Replicas beyond what the load asks for."
    )
    target_qps_per_replica: (
        Annotated[
            float | dict[str, float],
            PlainValidator(_rate),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "number", "exclusiveMinimum": 0},
                        {
                            "type": "object",
                            "minProperties": 1,
                            "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
                        },
                    ]
                }
            ),
        ]
        | None
    ) = Field(
        default=None, description="Requests a second that one replica serves; a number, or one for each GPU."
    )
    upscale_delay_seconds: Seconds = Field(
        default=300.0, description="Seconds of more load before replicas are added."
    )
    downscale_delay_seconds: Seconds = Field(
        default=1200.0, description="Seconds of less load before replicas are removed."
    )
    dynamic_ondemand_fallback: Flag = Field(
        default=False,
        description="Run an on-demand replica for each spot replica that is wanted and not ready.",
    )
    base_ondemand_fallback_replicas: Annotated[int, *whole_type(0, 10000)] = Field(
        default=0, description="How many of the replicas are always on-demand."
    )
    spot_placer: Annotated[str, *word_type(*SPOT_PLACERS)] | None = Field(
        default=None, description="How spot replicas are spread over places."
    )

    @model_validator(mode="after")
    def _check(self) -> ReplicaPolicy:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise FieldError(
                f"is {self.max_replicas}, fewer than min_replicas ({self.min_replicas})", key="max_replicas"
            )
        if self.max_replicas is not None and self.max_replicas > self.min_replicas:
            if self.target_qps_per_replica is None:
                raise FieldError(
                    "leaves the number of replicas open, and nothing says when it changes",
                    hint="Give target_qps_per_replica.",
                )
        elif self.target_qps_per_replica is not None and self.max_replicas is None:
            raise FieldError(
                "has a target_qps_per_replica, which needs max_replicas", hint="Give max_replicas."
            )
        return self


class LoadBalancer(SpecModel):
    """Particulars of the load balancer."""

    stream_timeout_seconds: Seconds | None = Field(
        default=None, description="Seconds that a stream may be silent before it is cut."
    )


class Tls(SpecModel):
    """The certificate of the endpoint."""

    keyfile: NonEmpty = Field(description="Path of the private key (PEM) on this machine.")
    certfile: NonEmpty = Field(description="Path of the certificate (PEM) on this machine.")


def _expand_probe(value: object) -> Any:
    return {"path": value} if isinstance(value, str) else value


class ServiceSpec(SpecModel):
    """A task kept running behind one endpoint."""

    readiness_probe: Annotated[
        ReadinessProbe, BeforeValidator(_expand_probe, json_schema_input_type=ReadinessProbe)
    ] = Field(description="How a replica shows that it can serve: a path, or a mapping.")
    replicas: Annotated[int, *whole_type(0, 10000)] | None = Field(
        default=None, description="How many replicas, if that does not change."
    )
    replica_policy: ReplicaPolicy | None = Field(
        default=None, description="How many replicas, if that changes."
    )
    ports: Port | None = Field(default=None, description="The port that the task listens on.")
    load_balancing_policy: Annotated[str, *word_type(*LOAD_BALANCING_POLICIES)] = Field(
        default="least_load", description="How requests are spread over replicas."
    )
    load_balancer: LoadBalancer | None = Field(default=None, description="Particulars of the load balancer.")
    tls: Tls | None = Field(default=None, description="Serve HTTPS with this certificate.")

    @model_validator(mode="after")
    def _check(self) -> ServiceSpec:
        if self.replicas is not None and self.replica_policy is not None:
            raise FieldError(
                "cannot stand beside `replica_policy`",
                key="replicas",
                hint="Give min_replicas in replica_policy.",
            )
        rates = self.replica_policy.target_qps_per_replica if self.replica_policy else None
        if self.load_balancing_policy == "instance_aware_least_load" and not isinstance(rates, dict):
            raise FieldError(
                "needs a target_qps_per_replica for each accelerator", key="load_balancing_policy"
            )
        return self

    @property
    def policy(self) -> ReplicaPolicy:
        """How many replicas, whichever way it was written; one, if it was not."""
        if self.replica_policy is not None:
            return self.replica_policy
        return ReplicaPolicy(min_replicas=1 if self.replicas is None else self.replicas)


class PoolSpec(SpecModel):
    """A pool of workers that managed jobs run on."""

    workers: Annotated[int, *whole_type(0, 10000)] | None = Field(
        default=None, description="How many workers, if that does not change."
    )
    min_workers: Annotated[int, *whole_type(0, 10000)] | None = Field(
        default=None, description="Never fewer workers than this."
    )
    max_workers: Annotated[int, *whole_type(1, 10000)] | None = Field(
        default=None, description="Never more workers than this."
    )
    queue_length_threshold: Annotated[int, *whole_type(1)] | None = Field(
        default=None, description="Waiting jobs above which workers are added."
    )
    upscale_delay_seconds: Seconds | None = Field(
        default=None, description="Seconds of waiting jobs before workers are added."
    )
    downscale_delay_seconds: Seconds | None = Field(
        default=None, description="Seconds of idle workers before they are removed."
    )

    @model_validator(mode="after")
    def _check(self) -> PoolSpec:
        if self.workers is None and self.max_workers is None:
            raise FieldError(
                "says not how many workers", hint="Give workers, or min_workers and max_workers."
            )
        if self.workers is not None and (self.min_workers is not None or self.max_workers is not None):
            raise FieldError("cannot stand beside min_workers and max_workers", key="workers")
        if self.max_workers is not None and (self.min_workers or 0) > self.max_workers:
            raise FieldError(f"is fewer than min_workers ({self.min_workers})", key="max_workers")
        return self
