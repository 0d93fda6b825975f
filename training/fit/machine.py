"""What a training has on this machine: device, free memory, speed, and how many processes.

Memory is read and speed is measured now; both are estimates for `forecast`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from training.errors import TrainingError
from training.fit import accelerate_config
from training.fit.accelerate_config import DDP, AccelerateConfig
from training.model.devices import usable_device, usable_precision
from training.settings import TrainingSettings


@dataclass(frozen=True)
class Machine:
    """What a run has here: free memory in MiB, and multiply-adds of the model's type in a second.

    Both are those of one device; up to `processes` train together, on a GPU each or on one CPU.
    """

    device: str
    precision: str
    free_mib: float
    rate: float
    processes: int = 1
    config: AccelerateConfig = DDP


def measure(device: str, precision: str, settings: TrainingSettings) -> Machine:
    """This machine as it is now; measuring its rate takes a fraction of a second. Raises TrainingError."""
    device = usable_device(device)
    precision = usable_precision(precision, device)
    config, processes = processes_of(settings, device)
    free = free_mib(device, processes)
    if settings.memory_gib and device == "cpu":
        own = psutil.Process().memory_info().rss / 2**20
        free = min(free, max(0.0, settings.memory_gib * 1024 / processes - own))
    return Machine(device, precision, free, _rate(device, precision), processes, config)


def processes_of(settings: TrainingSettings, device: str) -> tuple[AccelerateConfig, int]:
    """How the settings spread a training over this machine, and over how many processes at most.

    Raises TrainingError when it has too few GPUs, or accelerate could not use its configuration.
    """
    import torch

    config = DDP
    if settings.accelerate_config:
        config = accelerate_config.read(Path(settings.accelerate_config))
        if device != "cuda":
            raise TrainingError(
                f"{config.kind} by accelerate needs GPUs, and this machine trains on its {device}.",
                "Leave THUMBLOOP_TRAINING__ACCELERATE_CONFIG empty.",
            )
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    wanted = settings.processes or config.processes or gpus or 1
    if device == "cuda" and wanted > gpus:
        raise TrainingError(
            f"{wanted} processes are to train together, and this machine has {gpus} GPUs.",
            "Lower THUMBLOOP_TRAINING__PROCESSES, or leave it at 0.",
        )
    if device == "mps" and wanted > 1:
        raise TrainingError("Only one process can train on mps.", "Set THUMBLOOP_TRAINING__PROCESSES=1.")
    return config, wanted


def free_mib(device: str, processes: int = 1) -> float:
    """Memory that each of so many processes could have now, in MiB; of a container no more than its limit."""
    import torch

    if device == "cuda":
        return min(float(torch.cuda.mem_get_info(gpu)[0]) for gpu in range(processes)) / 2**20
    free = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        free = min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return float(free) / 2**20 / processes


def _rate(device: str, precision: str) -> float:
    """Multiply-adds in a second, measured on products like those of a model's layers."""
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    size = 1024 if device == "cpu" else 4096
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))

    def seconds(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            product = left @ right
        product[0, 0].item()  # waits for the device
        return time.perf_counter() - started

    seconds(2)
    return 8 * size**3 / seconds(8)
