"""Where bfloat16 pays. A config's "bfloat16" asks for no more; other hardware computes in float32."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32: NVIDIA GPUs from Ampere on, CPUs
    with AVX512-BF16 or AMX. Elsewhere autocast would be emulated, and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(check is not None and check() for check in supported)
