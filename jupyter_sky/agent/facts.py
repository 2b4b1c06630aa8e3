"""What this machine really has: CPUs, memory and GPUs, as far as this process may use them.

A container sees the host's numbers in most places, so limits of control groups and the CPU affinity are asked
first. GPUs are asked of `nvidia-smi`, then of the NVML library. Whatever cannot be found is left out: nothing
is guessed.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

_SMI_TIMEOUT = 10.0
_UNLIMITED = 1 << 60


def cpus() -> float:
    """Give how many CPUs this process may use; a fraction where a control group says so."""
    try:
        count = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        count = float(os.cpu_count() or 1)
    for quota in (_cgroup_v2_cpus(), _cgroup_v1_cpus()):
        if quota:
            count = min(count, quota)
    return count


def memory_mb() -> int:
    """Give how much memory this process may use, in MiB."""
    limits = [
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        _number("/sys/fs/cgroup/memory.max"),
        _number("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ]
    return min(limit for limit in limits if limit) >> 20


def gpus() -> List[Dict[str, Any]]:
    """Give one object a GPU: `index`, `name`, `memory_mb` (MiB). Empty where there is none or no driver."""
    listed = _ask_smi()
    return _ask_nvml() if listed is None else listed


def parse_smi(text: str) -> List[Dict[str, Any]]:
    """Read what `nvidia-smi --query-gpu=index,name,memory.total --format=csv,noheader,nounits` prints."""
    found = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) >= 3 and fields[0].isdigit():
            memory = int(float(fields[2])) if fields[2].replace(".", "", 1).isdigit() else 0
            found.append({"index": int(fields[0]), "name": fields[1], "memory_mb": memory})
    return found


def _ask_smi() -> Optional[List[Dict[str, Any]]]:
    import subprocess

    argv = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SMI_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_smi(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else None


def _ask_nvml() -> List[Dict[str, Any]]:
    try:
        import ctypes

        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except (ImportError, OSError):
        return []

    class Memory(ctypes.Structure):
        _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]

    if nvml.nvmlInit_v2() != 0:
        return []
    try:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        found = []
        for index in range(count.value):
            device, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(96), Memory()
            if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
                continue
            nvml.nvmlDeviceGetName(device, name, len(name))
            nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
            found.append({"index": index, "name": name.value.decode(), "memory_mb": memory.total >> 20})
        return found
    finally:
        nvml.nvmlShutdown()


def _cgroup_v2_cpus() -> Optional[float]:
    words = (_text("/sys/fs/cgroup/cpu.max") or "").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def _cgroup_v1_cpus() -> Optional[float]:
    quota = _text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = _text("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _number(path: str) -> Optional[int]:
    text = _text(path)
    if text is None or not text.isdigit() or int(text) > _UNLIMITED:
        return None
    return int(text)


def _text(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None
