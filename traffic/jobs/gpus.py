"""GPUs: FLOPs -> seconds.

Peaks are dense BF16 with tensor cores, of the SXM modules. Sources: NVIDIA A100 Tensor Core GPU data
sheet (312 TFLOPS), NVIDIA H100 Tensor Core GPU data sheet (1,979 TFLOPS with sparsity, 989.5 dense). The
utilisation of 0.4 is what Llama 3 405B reached on 8,192 to 16,384 H100 (0.38 to 0.43; "The Llama 3 Herd of
Models", 2024, table 4).
"""

from __future__ import annotations

from traffic.specs import GpuSpec

PRESETS = {"a100": GpuSpec(flops=312e12), "h100": GpuSpec(flops=989.5e12)}


def gpu_of(spec: str | GpuSpec) -> GpuSpec:
    """A preset by its name, or a description."""
    return PRESETS[spec] if isinstance(spec, str) else spec


def seconds(flops: float, gpu: GpuSpec) -> float:
    """Seconds that one GPU needs for `flops`: flops / (peak x utilisation)."""
    return flops / (gpu.flops * gpu.utilisation)
