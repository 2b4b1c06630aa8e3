"""Which devices of which node a job gets: plain arithmetic, no processes and no files.

CPUs and GPUs are counted in ten-thousandths, so that three jobs with a third of a GPU each fit on one and ten
with a tenth fill it exactly, which floating-point sums do not promise.
"""

from __future__ import annotations

from typing import List, Optional, Sequence

_UNIT = 10_000


def units(amount: float) -> int:
    """Turn an amount of CPUs or GPUs into whole ten-thousandths."""
    return round(amount * _UNIT)


class Capacity:
    """What one node has, and what of it is free.

    Parameters
    ----------
    cpus
        CPUs of the node.
    gpus
        The indices of its devices, as CUDA knows them.
    """

    def __init__(self, cpus: float, gpus: Sequence[int]) -> None:
        self.cpus = cpus
        self.gpu_count = len(gpus)
        self._free_cpus = units(cpus)
        self._free_gpus = dict.fromkeys(gpus, _UNIT)

    def could_ever_fit(self, cpus: float, gpus: float) -> bool:
        """Say whether the demand would fit on the empty node."""
        return units(cpus) <= units(self.cpus) and gpus <= self.gpu_count

    def find(self, cpus: float, gpus: float) -> Optional[List[int]]:
        """Give the devices a job would get now ([] if it asks for none), or None where it does not fit.

        A fraction goes to the fullest device that still has room, so that whole devices stay whole.
        """
        if units(cpus) > self._free_cpus:
            return None
        demand = units(gpus)
        if demand == 0:
            return []
        if demand < _UNIT:
            fitting = [(free, index) for index, free in self._free_gpus.items() if free >= demand]
            return [min(fitting)[1]] if fitting else None
        whole = [index for index, free in self._free_gpus.items() if free == _UNIT]
        wanted = -(-demand // _UNIT)
        return whole[:wanted] if len(whole) >= wanted else None

    def take(self, cpus: float, gpus: float, indices: Sequence[int]) -> None:
        """Count a demand as taken on these devices."""
        self._move(cpus, gpus, indices, -1)

    def give_back(self, cpus: float, gpus: float, indices: Sequence[int]) -> None:
        """Count it as free again."""
        self._move(cpus, gpus, indices, 1)

    def _move(self, cpus: float, gpus: float, indices: Sequence[int], sign: int) -> None:
        self._free_cpus += sign * units(cpus)
        share = min(units(gpus), _UNIT)
        for index in indices:
            if index in self._free_gpus:
                self._free_gpus[index] += sign * share


def find_gang(
    nodes: Sequence[Capacity], num_nodes: int, cpus: float, gpus: float
) -> Optional[List[List[int]]]:
    """Give the devices for each of the first `num_nodes` nodes, or None where one of them has no room."""
    found = []
    for node in nodes[:num_nodes]:
        indices = node.find(cpus, gpus)
        if indices is None:
            return None
        found.append(indices)
    return found if len(found) == num_nodes else None
