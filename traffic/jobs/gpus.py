"""GPUs: FLOPs -> seconds.

Peaks are dense BF16 with tensor cores, of the SXM modules. Sources: NVIDIA A100 Tensor Core GPU data
sheet (312 TFLOPS), NVIDIA H100 Tensor Core GPU data sheet (1,979 TFLOPS with sparsity, 989.5 dense).

The utilisation of 0.6 is that of kernels while they compute. Above it lie single kernels at their best: matrix
products at 0.80 of an H100's peak and 0.86 of an A100's (Bekman, "Machine Learning Engineering", maximum achievable
matmul FLOPS), attention at up to 0.75 (Shah et al., FlashAttention-3, 2024). Below it lie whole steps of FSDP, some
communication exposed: their FLOPs with recomputation were at best 0.55 to 0.59 of an H100's peak for models of 13 to 70
billion parameters (MosaicML, llm-foundry, training benchmarks, HFU). The MFU of 0.38 to 0.43 of Llama 3 405B ("The
Llama 3 Herd of Models", 2024, table 4) is no such number: it holds exposed communication and bubbles of 16,384 GPUs.
"""

from __future__ import annotations

from traffic.workloads.specs import GpuSpec

PRESETS = {"a100": GpuSpec(flops=312e12), "h100": GpuSpec(flops=989.5e12)}


def gpu_of(spec: str | GpuSpec) -> GpuSpec:
    """A preset by its name, or a description."""
    return PRESETS[spec] if isinstance(spec, str) else spec


def seconds(flops: float, gpu: GpuSpec) -> float:
    """Seconds that one GPU needs for `flops`: flops / (peak x utilisation)."""
    return flops / (gpu.flops * gpu.utilisation)
