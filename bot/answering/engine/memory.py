"""Memory straight from the system: zeros that cost nothing before they are touched, given back as a whole."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor


def zeros(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A flat tensor of `count` zeros. Raises MemoryError or what torch raises when memory is short.

    On a CPU its pages come from the system one by one as they are first used, and go back with the last view
    of them: measured there, filling the seats of sixteen answers with zeros took as long as five steps, and
    fifty adapters in memory of the usual allocator two and a half times what they weigh.
    """
    if device.type != "cpu" or not count:
        return torch.zeros(count, dtype=dtype, device=device)
    try:
        pages = mmap.mmap(-1, count * dtype.itemsize, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise MemoryError(f"no room for {count * dtype.itemsize:,} bytes") from error
    return torch.frombuffer(pages, dtype=dtype)
