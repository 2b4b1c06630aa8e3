"""Where: `local`, `kubernetes/<context>`, `aws`, `aws/us-east-1`, `aws/*/us-east-1a`.

Which infras exist is not known here: a third party may add one, and the registry of infras says so when one
is asked for that does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from jupyter_sky.spec.problems import FieldError, quote

#: Other names of an infra.
_ALIASES = {"k8s": "kubernetes"}
#: Infras whose second part is a context, which may hold slashes itself (an EKS ARN does).
_CONTEXTS = frozenset({"kubernetes"})
_CLOUD = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
_PLACE = re.compile(r"[^\s/]+")


@dataclass(frozen=True, slots=True)
class InfraPath:
    """A place, as far as it was said; None is any.

    Attributes
    ----------
    cloud
        The name of an infra in lower case.
    region
        A region, or the context of a Kubernetes cluster.
    zone
        A zone of the region.
    """

    cloud: str | None = None
    region: str | None = None
    zone: str | None = None

    def __str__(self) -> str:
        parts = [self.cloud, self.region, self.zone]
        while parts and parts[-1] is None:
            parts.pop()
        return "/".join(part or "*" for part in parts) or "*"

    def to_yaml_config(self) -> str:
        """Give the place as YAML holds it."""
        return str(self)

    @classmethod
    def parse(cls, value: object) -> InfraPath:
        """Read a place.

        Raises
        ------
        SpecError
            If it is not written as a place is.
        """
        if isinstance(value, InfraPath):
            return value
        if not isinstance(value, str) or not value.strip():
            raise FieldError(f"must be a place such as 'aws/us-east-1' or 'kubernetes', not {quote(value)}")
        head, _, rest = value.strip().rstrip("/").partition("/")
        cloud = check_cloud(head)
        parts = [rest] if cloud in _CONTEXTS else rest.split("/")
        if len(parts) > 2:
            raise FieldError(
                f"must be a place of at most three parts (infra/region/zone), not {quote(value)}",
                hint="Only the context of a Kubernetes cluster may hold slashes.",
            )
        if rest and not all(re.fullmatch(r"\S+", part) for part in parts):
            raise FieldError(f"has an empty part or a space in it: {quote(value)}", hint="Write '*' for any.")
        region, zone = (*(None if part in {"", "*"} else part for part in parts), None)[:2]
        return cls(cloud, region, zone)

    def within(self, other: InfraPath) -> bool:
        """Tell whether `other` is a place that this request allows."""
        pairs = ((self.cloud, other.cloud), (self.region, other.region), (self.zone, other.zone))
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)

    def merged(self, other: InfraPath) -> InfraPath | None:
        """Give the place that is both, or None where they contradict each other."""
        if not self.within(other):
            return None
        return InfraPath(self.cloud or other.cloud, self.region or other.region, self.zone or other.zone)


def check_cloud(value: object) -> str | None:
    """Read the name of an infra: its case does not matter, 'k8s' is Kubernetes and '*' is any."""
    name = value.strip().lower() if isinstance(value, str) else ""
    if name == "*":
        return None
    name = _ALIASES.get(name, name)
    if not _CLOUD.fullmatch(name):
        raise FieldError(f"must name an infra such as 'aws', 'kubernetes' or 'local', not {quote(value)}")
    return name


def check_place(value: object) -> str | None:
    """Read the name of a region or of a zone; '*' is any."""
    name = value.strip() if isinstance(value, str) else ""
    if name == "*":
        return None
    if not _PLACE.fullmatch(name):
        raise FieldError(f"must be the name of a place, not {quote(value)}")
    return name


Infra = Annotated[
    InfraPath,
    PlainValidator(InfraPath.parse),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["local", "kubernetes", "aws/us-east-1"]}),
]
