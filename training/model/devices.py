"""The device and the precision that a model computes with on this machine."""

from __future__ import annotations

from training.errors import ModelError


def usable_device(wanted: str) -> str:
    """cpu, cuda or mps for what the settings want. Raises ModelError when this machine has no such device."""
    import torch

    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if have[device])
    if wanted not in have:
        raise ModelError(f"The device {wanted!r} is unknown.", "Use auto, cpu, cuda or mps.")
    if not have[wanted]:
        raise ModelError(f"This machine has no {wanted} device that torch can use.", "Use auto or cpu.")
    return wanted


def usable_precision(wanted: str, device: str) -> str:
    """bf16, fp16 or fp32 for what the settings want. Raises ModelError for anything else."""
    import torch

    if wanted == "auto":
        # hardware that only emulates bf16 computes in it at half the speed of fp32
        if device == "cpu":
            able = torch.cpu.get_capabilities()
            computes = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        else:
            computes = device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if computes else "fp32"
    if wanted not in ("bf16", "fp16", "fp32"):
        raise ModelError(f"The precision {wanted!r} is unknown.", "Use auto, bf16, fp16 or fp32.")
    return wanted
