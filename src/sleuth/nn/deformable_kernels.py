"""The two Triton kernels of deformable attention. Importing this file imports Triton.

A program answers a block of rows, one row being one query and head of one picture. It walks over the points, and
gathers the four tokens around each, all numbers of a head side by side in memory. The backward kernel gathers them
again, sums what belongs to a point in registers, and adds to the tokens' gradient atomically.

Kernels know points, not levels: `grids` holds height, width and first token of each point's level, [3, points].
"""

# ruff: noqa: N803, N806 (capitals are what a kernel is compiled for, as is the custom)

from collections.abc import Hashable
from typing import Any, no_type_check

import triton
import triton.language as tl

# (numbers a program holds, warps): few, since each is compiled, and timed once a kind of input. One warp needs no
# barriers where the backward kernel stores what it summed.
BLOCKS = ((128, 1), (256, 1), (512, 4))
INTERPRETED_BLOCK = 512
SINGLE, DOUBLE = tl.float32, tl.float64
# Not compiled afresh for sizes that are a multiple of 16.
_AS_THEY_COME = ["num_rows", "picture_rows", "num_tokens", "points", "few_rows"]
_UNROLL = tl.constexpr(2)


class Tuned:
    """A kernel whose block is timed at the first launch of a kind of input, and kept.

    Triton's own tuner times; what it chose is launched without it, which halves the time of a launch. Under Triton's
    interpreter there is nothing to time.
    """

    def __init__(self, kernel: Any, reset_to_zero: list[str]) -> None:
        self.kernel = kernel
        self.chosen: dict[Hashable, dict[str, Any]] = {}
        self.tuner = None
        if isinstance(kernel, triton.JITFunction):
            configs = [triton.Config({"BLOCK": size}, num_warps=warps, num_stages=1) for size, warps in BLOCKS]
            key = ["HEAD_DIM", "few_rows"]
            self.tuner = triton.autotune(configs=configs, key=key, reset_to_zero=reset_to_zero)(kernel)

    def launch(self, kind: Hashable, rows: int, head_block: int, *inputs: Any, **constants: Any) -> None:
        """Start as many programs as the rows need; inputs of one kind have the same head, types and scale of rows."""

        def programs(block: int) -> tuple[int]:
            return (triton.cdiv(rows, max(block // head_block, 1)),)

        if self.tuner is None:
            self.kernel[programs(INTERPRETED_BLOCK)](*inputs, **constants, BLOCK=INTERPRETED_BLOCK)
            return
        # Triton 3.9 warns where it is not told whether to fuse products with sums.
        constants["enable_fp_fusion"] = True
        if (options := self.chosen.get(kind)) is not None:
            self.kernel[programs(options["BLOCK"])](*inputs, **constants, **options)
            return
        self.tuner[lambda options: programs(options["BLOCK"])](*inputs, **constants)
        self.chosen[kind] = self.tuner.best_config.all_kwargs()


@triton.jit
@no_type_check
def _pixels(location, size, live, COMPUTE: tl.constexpr):
    """The pixel before each location, how far behind it the location lies, and which of it and the next are there."""
    edge = size.to(COMPUTE)
    position = location * edge - 0.5
    near = live & (position >= -1.0) & (position < edge)
    # Far positions and NaN do not fit an integer.
    position = tl.where(near, position, 0.0)
    before = tl.floor(position)
    pixel = before.to(tl.int32)
    return pixel, position - before, near & (pixel >= 0), near & (pixel + 1 < size)


@triton.jit
@no_type_check
def _whole(mask, dims, HEAD_DIM: tl.constexpr, HEAD_BLOCK: tl.constexpr):
    """A mask of rows as one of rows and numbers of a head."""
    mask = mask[:, None]
    if HEAD_DIM != HEAD_BLOCK:
        mask = mask & (dims < HEAD_DIM)[None, :]
    return mask


@triton.jit(do_not_specialize=_AS_THEY_COME)
@no_type_check
def _forward(
    value,
    grids,
    locations,
    weights,
    answers,
    num_rows,
    picture_rows,
    num_tokens,
    points,
    few_rows,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    ROWS: tl.constexpr = BLOCK // HEAD_BLOCK if BLOCK > HEAD_BLOCK else 1
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = rows < num_rows
    dims = tl.arange(0, HEAD_BLOCK)
    first = ((rows // picture_rows) * num_tokens * HEADS + rows % HEADS) * HEAD_DIM
    base = value + (first[:, None] + dims[None, :])
    total = tl.zeros((ROWS, HEAD_BLOCK), dtype=COMPUTE)
    for point in tl.range(points, loop_unroll_factor=_UNROLL):
        height = tl.load(grids + point)
        width = tl.load(grids + points + point)
        start = tl.load(grids + 2 * points + point)
        at = rows * points + point
        x = tl.load(locations + 2 * at, mask=live, other=0.0).to(COMPUTE)
        y = tl.load(locations + 2 * at + 1, mask=live, other=0.0).to(COMPUTE)
        weight = tl.load(weights + at, mask=live, other=0.0).to(COMPUTE)
        column, right, has_left, has_right = _pixels(x, width, live, COMPUTE)
        row, below, has_top, has_bottom = _pixels(y, height, live, COMPUTE)
        corner = base + ((start + row * width + column) * (HEADS * HEAD_DIM))[:, None]
        down = width * (HEADS * HEAD_DIM)
        mask = _whole(has_top & has_left, dims, HEAD_DIM, HEAD_BLOCK)
        token = tl.load(corner, mask=mask, other=0.0).to(COMPUTE)
        total += (weight * (1.0 - below) * (1.0 - right))[:, None] * token
        mask = _whole(has_top & has_right, dims, HEAD_DIM, HEAD_BLOCK)
        token = tl.load(corner + HEADS * HEAD_DIM, mask=mask, other=0.0).to(COMPUTE)
        total += (weight * (1.0 - below) * right)[:, None] * token
        mask = _whole(has_bottom & has_left, dims, HEAD_DIM, HEAD_BLOCK)
        token = tl.load(corner + down, mask=mask, other=0.0).to(COMPUTE)
        total += (weight * below * (1.0 - right))[:, None] * token
        mask = _whole(has_bottom & has_right, dims, HEAD_DIM, HEAD_BLOCK)
        token = tl.load(corner + down + HEADS * HEAD_DIM, mask=mask, other=0.0).to(COMPUTE)
        total += (weight * below * right)[:, None] * token
    target = answers + ((rows * HEAD_DIM)[:, None] + dims[None, :])
    tl.store(target, total.to(answers.dtype.element_ty), mask=_whole(live, dims, HEAD_DIM, HEAD_BLOCK))


@triton.jit(do_not_specialize=_AS_THEY_COME)
@no_type_check
def _backward(
    grad,
    value,
    grids,
    locations,
    weights,
    grad_value,
    grad_locations,
    grad_weights,
    num_rows,
    picture_rows,
    num_tokens,
    points,
    few_rows,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEAD_BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    ROWS: tl.constexpr = BLOCK // HEAD_BLOCK if BLOCK > HEAD_BLOCK else 1
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = rows < num_rows
    dims = tl.arange(0, HEAD_BLOCK)
    first = ((rows // picture_rows) * num_tokens * HEADS + rows % HEADS) * HEAD_DIM
    base = first[:, None] + dims[None, :]
    source = grad + ((rows * HEAD_DIM)[:, None] + dims[None, :])
    wanted = tl.load(source, mask=_whole(live, dims, HEAD_DIM, HEAD_BLOCK), other=0.0).to(COMPUTE)
    for point in tl.range(points, loop_unroll_factor=_UNROLL):
        height = tl.load(grids + point)
        width = tl.load(grids + points + point)
        start = tl.load(grids + 2 * points + point)
        at = rows * points + point
        x = tl.load(locations + 2 * at, mask=live, other=0.0).to(COMPUTE)
        y = tl.load(locations + 2 * at + 1, mask=live, other=0.0).to(COMPUTE)
        weight = tl.load(weights + at, mask=live, other=0.0).to(COMPUTE)
        column, right, has_left, has_right = _pixels(x, width, live, COMPUTE)
        row, below, has_top, has_bottom = _pixels(y, height, live, COMPUTE)
        corner = base + ((start + row * width + column) * (HEADS * HEAD_DIM))[:, None]
        down = width * (HEADS * HEAD_DIM)
        top_left = _whole(has_top & has_left, dims, HEAD_DIM, HEAD_BLOCK)
        top_right = _whole(has_top & has_right, dims, HEAD_DIM, HEAD_BLOCK)
        bottom_left = _whole(has_bottom & has_left, dims, HEAD_DIM, HEAD_BLOCK)
        bottom_right = _whole(has_bottom & has_right, dims, HEAD_DIM, HEAD_BLOCK)
        token_tl = tl.load(value + corner, mask=top_left, other=0.0).to(COMPUTE)
        token_tr = tl.load(value + corner + HEADS * HEAD_DIM, mask=top_right, other=0.0).to(COMPUTE)
        token_bl = tl.load(value + corner + down, mask=bottom_left, other=0.0).to(COMPUTE)
        token_br = tl.load(value + corner + down + HEADS * HEAD_DIM, mask=bottom_right, other=0.0).to(COMPUTE)
        # How the sample changes to the right and downwards, and the sample itself.
        slope_top = token_tr - token_tl
        slope_bottom = token_br - token_bl
        top = token_tl + right[:, None] * slope_top
        bottom = token_bl + right[:, None] * slope_bottom
        slope_x = slope_top + below[:, None] * (slope_bottom - slope_top)
        slope_y = bottom - top
        sample = top + below[:, None] * slope_y
        of_weight = tl.sum(sample * wanted, axis=1)
        of_x = tl.sum(slope_x * wanted, axis=1) * weight * width.to(COMPUTE)
        of_y = tl.sum(slope_y * wanted, axis=1) * weight * height.to(COMPUTE)
        tl.store(grad_weights + at, of_weight.to(grad_weights.dtype.element_ty), mask=live)
        tl.store(grad_locations + 2 * at, of_x.to(grad_locations.dtype.element_ty), mask=live)
        tl.store(grad_locations + 2 * at + 1, of_y.to(grad_locations.dtype.element_ty), mask=live)
        share = wanted * weight[:, None]
        upper = share * (1.0 - below)[:, None]
        lower = share * below[:, None]
        into = grad_value + corner
        tl.atomic_add(into, upper * (1.0 - right)[:, None], mask=top_left, sem="relaxed")
        tl.atomic_add(into + HEADS * HEAD_DIM, upper * right[:, None], mask=top_right, sem="relaxed")
        tl.atomic_add(into + down, lower * (1.0 - right)[:, None], mask=bottom_left, sem="relaxed")
        tl.atomic_add(into + down + HEADS * HEAD_DIM, lower * right[:, None], mask=bottom_right, sem="relaxed")


forward_kernel = Tuned(_forward, [])
backward_kernel = Tuned(_backward, ["grad_value"])
INTERPRETED = not isinstance(_forward, triton.JITFunction)
