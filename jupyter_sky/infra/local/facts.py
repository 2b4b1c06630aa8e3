"""What this machine has, in the words in which people ask for it.

The numbers are the agent's (`jupyter_sky.agent.facts`): what this process may really use, a container's
limits included. Here GPUs get the short names of task files, and the slow question for them is asked once a
process.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass

from jupyter_sky.agent import facts

_FORM_FACTORS = {"sxm", "sxm2", "sxm3", "sxm4", "sxm5", "pcie", "nvl", "hbm2", "hbm2e", "hbm3", "hbm3e"}
_MAKERS = {"nvidia", "tesla", "geforce", "quadro", "graphics", "device"}
_EDITIONS = {"generation", "edition", "blackwell", "server", "workstation"}
_DROPPED = _FORM_FACTORS | _MAKERS | _EDITIONS
#: Models sold with two sizes of memory, and the size whose name carries it.
_TWO_SIZES = {"A100": "80GB", "V100": "32GB"}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its index as the driver counts, its short name (`T4`, `A100-80GB`), its memory in MiB."""

    index: int
    name: str
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The size of this machine: processors (a fraction where a container has one), memory in MiB, GPUs."""

    cpus: float
    memory_mb: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def memory_gb(self) -> float:
        """Memory in GiB, to a tenth."""
        return round(self.memory_mb / 1024, 1)


def machine() -> Machine:
    """Look at this machine."""
    return Machine(cpus=facts.cpus(), memory_mb=facts.memory_mb(), gpus=_gpus())


@functools.cache
def _gpus() -> tuple[Gpu, ...]:
    """Ask for the GPUs; once, because without a persistence daemon the driver takes seconds to answer."""
    found = (Gpu(raw["index"], short_gpu_name(raw["name"]), raw["memory_mb"]) for raw in facts.gpus())
    return tuple(gpu for gpu in found if _is_ours(gpu.index))


def _is_ours(index: int) -> bool:
    """Whether a GPU is one that this process was given, where it was given some by number."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None or not re.fullmatch(r"(-?\d+(,-?\d+)*)?", given):
        return True
    return str(index) in given.split(",")


def short_gpu_name(product: str) -> str:
    """Give the name by which people ask for a GPU: `NVIDIA A100-SXM4-80GB` is an `A100-80GB`."""
    words = [word for word in re.split(r"[\s_-]+", product) if word]
    sizes = [word.upper() for word in words if re.fullmatch(r"\d+GB", word, re.IGNORECASE)]
    kept = [word for word in words if word.lower() not in _DROPPED and word.upper() not in sizes]
    name = "".join(word for word in kept if word != "Ada") or product
    if "Ada" in kept:
        name += "-Ada"
    return f"{name}-{sizes[0]}" if sizes and _TWO_SIZES.get(name) == sizes[0] else name
