"""The best word of a large vocabulary, exactly, at the price of a product in bfloat16.

Scores in half the bits say which words can be the best at all; those few are scored again in float32. How far a rough
score may be off is bounded, so that the word is the one that float32 finds.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

# Half a unit in the last place of bfloat16, to which the rough scores themselves are rounded.
_ROUNDING = 2.0**-8
# What float32 adds up wrongly, as a share of |x| |w|.
_SUMMING = 2.0**-16
_LEAST_WORDS = 4096


class Shortlist:
    """A head's weights in bfloat16, and by how much rounding has moved each.

    Args:
        head: from states to scores of words; its weights must not change as long as this is used.

    Source: the bound is that of Cauchy and Schwarz: |x w - x' w'| <= |x - x'| |w| + |x'| |w - w'|.
    """

    def __init__(self, head: nn.Linear) -> None:
        self.weight = head.weight.detach()
        self.bias = None if head.bias is None else head.bias.detach()
        self.rough = self.weight.bfloat16()
        self.greatest = float(self.weight.norm(dim=1).max())
        self.moved = float((self.weight - self.rough.float()).norm(dim=1).max())

    def best(self, states: Float[Tensor, "rows dim"], banned: Sequence[int] = ()) -> Int[Tensor, " rows"]:
        """The word with the greatest score for each row, the first of equals.

        Args:
            states: what the head reads.
            banned: words that are left out; not all of them.
        """
        near = states.bfloat16()
        rough = F.linear(near, self.rough)
        if self.bias is not None:
            rough = rough + self.bias
        rough[:, list(banned)] = float("-inf")
        top = rough.amax(1).float()
        off = self.greatest * (states - near.float()).norm(dim=1) + self.moved * near.float().norm(dim=1)
        off = off + _SUMMING * self.greatest * states.norm(dim=1) + 2 * _ROUNDING * top.abs()
        # The best word is at most `off` worse than it seems, and the one that seems best at most as much better.
        rows, words = _at_least(rough, top - 2 * off)
        scores = (states[rows] * self.weight[words]).sum(1)
        if self.bias is not None:
            scores = scores + self.bias[words]
        best = scores.new_full((len(states),), float("-inf")).scatter_reduce(0, rows, scores, "amax")
        is_best = scores == best[rows]
        found = words.new_full((len(states),), self.rough.shape[0])
        return found.scatter_reduce(0, rows[is_best], words[is_best], "amin")


def worth_a_shortlist(head: nn.Module) -> bool:
    """Whether this is a large head in float32 on a processor that multiplies bfloat16 in hardware."""
    return (
        type(head) is nn.Linear
        and head.weight.dtype == torch.float32
        and head.weight.device.type == "cpu"
        and head.out_features >= _LEAST_WORDS
        and _multiplies_bfloat16()
    )


def _multiplies_bfloat16() -> bool:
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def _at_least(
    scores: Float[Tensor, "rows words"], least: Float[Tensor, " rows"]
) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"]]:
    """Rows and words whose score is at least so much: blocks with no such word are passed over by their maximum."""
    size = math.isqrt(scores.shape[1])
    blocks = scores.shape[1] // size
    cut, rest = scores[:, : blocks * size].unflatten(1, (blocks, size)), scores[:, blocks * size :]
    rows, places = (cut.amax(-1).float() >= least[:, None]).nonzero(as_tuple=True)
    found, within = (cut[rows, places].float() >= least[rows, None]).nonzero(as_tuple=True)
    late_rows, late = (rest.float() >= least[:, None]).nonzero(as_tuple=True)
    words = torch.cat((places[found] * size + within, late + blocks * size))
    return torch.cat((rows[found], late_rows)), words
