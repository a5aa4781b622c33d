"""The best word of a large vocabulary, exactly, at the price of a product of bytes.

Scores from whole numbers of 8 bits say which words can be the best at all; those few are scored again in float32. How
far a rough score may be off is bounded, so that the word is the one that float32 finds.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

# What float32 adds up wrongly, as a share of |x| |w|.
_SUMMING = 2.0**-16
_LEAST_WORDS = 4096
# More words than this of a row, and scoring all of them again is as quick.
_MOST_WORDS = 512
_GREATEST_BYTE = 127
# A single row is slower than four: it is no product of matrices.
_LEAST_ROWS = 4
_PART = 4096


class Shortlist:
    """A head's weights as bytes, a scale for each word, and by how much rounding has moved them.

    Args:
        head: from states to scores of words; its weights must not change as long as this is used.

    Source: the bound is that of Cauchy and Schwarz: |x w - x' w'| <= |x - x'| |w| + |x'| |w - w'|.
    """

    def __init__(self, head: nn.Linear) -> None:
        self.weight = head.weight.detach()
        self.bias: Tensor | None = None if head.bias is None else head.bias.detach()
        self.greatest = self.moved = 0.0
        self.greatest_bias = 0.0 if self.bias is None else float(self.bias.abs().max())
        self._scale = torch.empty(len(self.weight))
        self._zeros = torch.zeros(len(self.weight), dtype=torch.int32)
        rough = torch.empty(self.weight.shape, dtype=torch.int8)
        # A part at a time, so that no whole copies in float32 are made on the way.
        for first in range(0, len(rough), _PART):
            part = slice(first, first + _PART)
            weight = self.weight[part]
            scale, near = _as_bytes(weight)
            self._scale[part], rough[part] = scale[:, 0], near
            self.greatest = max(self.greatest, float(weight.norm(dim=1).max()))
            self.moved = max(self.moved, float((weight - scale * near).norm(dim=1).max()))
        self._packed = torch.ops.onednn.qlinear_prepack(rough, None)

    def best(self, states: Float[Tensor, "rows dim"], banned: Sequence[int] = ()) -> Int[Tensor, " rows"]:
        """The word with the greatest score for each row, the first of equals.

        Args:
            states: what the head reads.
            banned: words that are left out; not all of them.
        """
        rough, off = self._rough(states)
        left_out = torch.tensor(banned, dtype=torch.long)
        # The best word is at most `off` worse than it seems, and the one that seems best at most as much better.
        rows, words = _near_the_best(rough.index_fill_(1, left_out, float("-inf")), 2 * off)
        if len(words) > _MOST_WORDS * len(states):
            scores = F.linear(states, self.weight, self.bias).index_fill_(1, left_out, float("-inf"))
            rows, words = _near_the_best(scores, torch.zeros(len(states)))
        scores = (states[rows] * self.weight[words]).sum(1)
        if self.bias is not None:
            scores = scores + self.bias[words]
        best = scores.new_full((len(states),), float("-inf")).scatter_reduce(0, rows, scores, "amax")
        is_best = scores == best[rows]
        found = words.new_full((len(states),), len(self.weight))
        return found.scatter_reduce(0, rows[is_best], words[is_best], "amin")

    def _rough(self, states: Tensor) -> tuple[Float[Tensor, "rows words"], Float[Tensor, " rows"]]:
        """Scores of all words from products of bytes, and how far any of a row may be off."""
        scale, near = _as_bytes(states)
        # Bytes times bytes in 32 bits, then times the scale of the word: oneDNN's product for quantised models.
        least = F.pad(near, (0, 0, 0, max(0, _LEAST_ROWS - len(near)))).to(torch.int8)
        rough = torch.ops.onednn.qlinear_pointwise(
            *(least, 1.0, 0, self._packed, self._scale, self._zeros),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )[: len(near)]
        near = scale * near
        length = near.norm(dim=1)
        off = self.greatest * ((states - near).norm(dim=1) + _SUMMING * states.norm(dim=1)) + self.moved * length
        if self.bias is None:
            return rough.mul_(scale), off
        # Nor is a bias added exactly: rounding is in proportion to the greatest that a sum can be.
        most = (self.greatest + self.moved) * length + self.greatest_bias
        return torch.addcmul(self.bias, rough, scale), off + _SUMMING * most


def worth_a_shortlist(head: nn.Module) -> bool:
    """Whether this is a large head in float32 on a processor that multiplies bytes in hardware."""
    return (
        type(head) is nn.Linear
        and head.weight.dtype == torch.float32
        and head.weight.device.type == "cpu"
        and head.out_features >= _LEAST_WORDS
        and multiplies_bytes()
    )


def multiplies_bytes() -> bool:
    """Whether there is a product of bytes here: in PyTorch, and in the processor (without, oneDNN's may saturate)."""
    names = ("_is_amx_tile_supported", "_is_vnni_supported")
    in_hardware = any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return in_hardware and all(hasattr(torch.ops.onednn, name) for name in ("qlinear_prepack", "qlinear_pointwise"))


def _as_bytes(x: Float[Tensor, "rows dim"]) -> tuple[Float[Tensor, "rows 1"], Float[Tensor, "rows dim"]]:
    """A scale for each row, and whole numbers from -127 to 127 (still as floats) that times the scale are nearly x."""
    scale = (x.abs().amax(1, keepdim=True) / _GREATEST_BYTE).clamp(min=torch.finfo(x.dtype).tiny)
    return scale, (x / scale).round_().clamp_(-_GREATEST_BYTE, _GREATEST_BYTE)


def _near_the_best(
    scores: Float[Tensor, "rows words"], slack: Float[Tensor, " rows"]
) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"]]:
    """Rows and words whose score is at most so much below the row's best: blocks are passed over by their maximum."""
    size = math.isqrt(scores.shape[1])
    blocks = scores.shape[1] // size
    cut, rest = scores[:, : blocks * size].unflatten(1, (blocks, size)), scores[:, blocks * size :]
    tops = cut.amax(-1)
    best = torch.cat((tops, rest), 1).amax(1)
    least = best - slack
    rows, places = (tops >= least[:, None]).nonzero(as_tuple=True)
    found, within = (cut[rows, places] >= least[rows, None]).nonzero(as_tuple=True)
    late_rows, late = (rest >= least[:, None]).nonzero(as_tuple=True)
    words = torch.cat((places[found] * size + within, late + blocks * size))
    return torch.cat((rows[found], late_rows)), words
