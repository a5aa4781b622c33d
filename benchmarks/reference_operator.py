"""The published CUDA operator of Deformable DETR as a core, where it can be had.

It is looked for as `MultiScaleDeformableAttention` (built from the original repository), in `mmcv.ops`, and with
`kernels` on Hugging Face's hub. It can also be built from its sources, which need CUDA's compiler: the folder with
vision.cpp, cpu/ and cuda/, in the original repository or in the wheel of transformers 4.46 (kernels/deformable_detr).
"""

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Names that PyTorch has dropped since the sources were written, and half precision, which the original does not have.
_RENAMED = (
    ("AT_DISPATCH_FLOATING_TYPES_AND2(at::ScalarType::Half, at::ScalarType::BFloat16, ", "AT_DISPATCH_FLOATING_TYPES("),
    (".type().is_cuda()", ".is_cuda()"),
    ("value.type()", "value.scalar_type()"),
    (".data<", ".data_ptr<"),
    ("AT_ASSERTM(", "TORCH_CHECK("),
    ("AT_ERROR(", "TORCH_CHECK(false, "),
    ("<THC/THCAtomics.cuh>", "<ATen/cuda/Atomic.cuh>"),
)
Operator = Callable[..., Tensor]
"""(value, sizes, starts, locations, weights, im2col_step) to the answers, with gradients."""


def reference_core(sources: Path | None) -> tuple[Callable[..., Tensor] | None, str]:
    """The operator as a core and where it comes from; or None, and why it is not to be had."""
    try:
        operator, origin = _from_sources(sources) if sources else _installed()
    except Exception as reason:
        lines = str(reason).strip().splitlines() or [""]
        return None, f"not obtainable here: {type(reason).__name__}: {lines[0][:200]}"
    kept: dict[tuple, tuple[Tensor, Tensor]] = {}

    def core(value: Tensor, grids_hw: tuple, locations: Tensor, weights: Tensor, num_points: tuple[int, ...]) -> Tensor:
        if grids_hw not in kept:  # the models that use it make them once a picture
            sizes = torch.tensor(grids_hw, device=value.device)
            area = sizes.prod(1)
            kept[grids_hw] = sizes, area.cumsum(0) - area
        levels = (len(num_points), num_points[0])
        # It knows no half precision: its users compute in float32 under autocast.
        parts = (locations.float().unflatten(3, levels), weights.float().unflatten(3, levels))
        return operator(value.float(), *kept[grids_hw], *(part.contiguous() for part in parts), 64)

    return core, origin


def _installed() -> tuple[Operator, str]:
    try:
        return _differentiable(
            importlib.import_module("MultiScaleDeformableAttention")
        ), "MultiScaleDeformableAttention"
    except ImportError:
        pass
    try:
        from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

        return MultiScaleDeformableAttnFunction.apply, "mmcv.ops"
    except ImportError:
        pass
    from kernels import get_kernel

    name = "kernels-community/deformable-detr"
    return _differentiable(get_kernel(name)), name


def _from_sources(folder: Path) -> tuple[Operator, str]:
    from torch.utils.cpp_extension import load

    with tempfile.TemporaryDirectory() as name:
        current = Path(name)
        for path in folder.rglob("*"):
            if path.suffix in (".h", ".cuh", ".cpp", ".cu"):
                text = path.read_text()
                for old, new in _RENAMED:
                    text = text.replace(old, new)
                target = current / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
        built = load(
            "MultiScaleDeformableAttention",
            [str(path) for path in sorted(current.rglob("*")) if path.suffix in (".cpp", ".cu")],
            extra_include_paths=[str(current)],
            extra_cflags=["-DWITH_CUDA"],
            extra_cuda_cflags=["-DWITH_CUDA"],
        )
    return _differentiable(built), "built from its sources"


def _differentiable(module: Any) -> Operator:
    class Reference(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            ctx.save_for_backward(*inputs[:-1])
            ctx.step = inputs[-1]
            return module.ms_deform_attn_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            of_value, of_locations, of_weights = module.ms_deform_attn_backward(
                *ctx.saved_tensors, grad.contiguous(), ctx.step
            )
            return of_value, None, None, of_locations, of_weights, None

    return Reference.apply
