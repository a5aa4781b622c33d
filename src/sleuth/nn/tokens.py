"""Words as vectors: the table of embeddings, and where in the sentence a word stands."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sleuth.nn.dropout import Dropout

SineLayout = Literal["interleaved", "halves"]


def sine_table(
    length: int,
    dim: int,
    *,
    layout: SineLayout = "interleaved",
    start: int = 0,
    endpoint: bool = False,
    temperature: float = 10_000.0,
) -> Float[Tensor, "{length} {dim}"]:
    """Sine positions of a sentence, in the layouts that published models have.

    Args:
        length: number of positions.
        dim: embedding size; even.
        layout: interleaved: sine in the even channels, cosine in the odd, as in the paper; halves: all sines, then all
            cosines, as in its code and in Marian.
        start: number of the first position: 0 in the paper, 1 in OpenNMT-tf, 2 in fairseq.
        endpoint: the longest wavelength is that of the last channel (the paper's code, fairseq), rather than one step
            beyond it (the paper).
        temperature: the longest wavelength over 2 pi.

    Source: Vaswani et al. 2017, section 3.5. In float64, as the sine of a large angle needs it.
    """
    if dim % 2:
        raise ValueError(f"sine positions need an even dim, not {dim}")
    half = dim // 2
    steps = max(half - 1, 1) if endpoint else half
    frequency = temperature ** -(torch.arange(half, dtype=torch.float64) / steps)
    angle = torch.arange(start, start + length, dtype=torch.float64)[:, None] * frequency
    if layout == "halves":
        return torch.cat((angle.sin(), angle.cos()), dim=1).float()
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1).float()


class SinePositions1d(nn.Module):
    """`sine_table` as a module without parameters.

    Args:
        length: the most positions.
        dim: embedding size; even.
        layout: of the channels; see `sine_table`, as for the rest.
        start: number of the first position.
        endpoint: whether the last channel has the longest wavelength.
    """

    table: Tensor

    def __init__(
        self, *, length: int, dim: int, layout: SineLayout = "interleaved", start: int = 0, endpoint: bool = False
    ) -> None:
        super().__init__()
        table = sine_table(length, dim, layout=layout, start=start, endpoint=endpoint)
        self.register_buffer("table", table, persistent=False)

    def forward(self, length: int, first: int = 0) -> Float[Tensor, "{length} dim"]:
        """Positions of ``length`` words, the first of which is word number ``first`` of its sentence.

        Raises:
            ValueError: the sentence is longer than the table.
        """
        return _rows(self.table, first, length)


class LearnedTokenPositions(nn.Module):
    """A learned vector for each place in a sentence.

    Args:
        length: the most positions.
        dim: embedding size.
    """

    def __init__(self, *, length: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(length, dim))
        nn.init.normal_(self.table, std=0.02)

    def forward(self, length: int, first: int = 0) -> Float[Tensor, "{length} dim"]:
        """As for `SinePositions1d`."""
        return _rows(self.table, first, length)


def _rows(table: Tensor, first: int, length: int) -> Tensor:
    if first + length > len(table):
        raise ValueError(f"a sentence of {first + length} tokens, but the model has {len(table)} positions")
    return table[first : first + length]


class TokenEmbedding(nn.Module):
    """Embeddings of words, scaled, with positions added, normalised where the model does so, and dropped out.

    Args:
        vocabulary: number of words.
        dim: embedding size.
        scale: what embeddings are multiplied by before positions are added; sqrt(dim) in the paper.
        norm: a layer norm after the sum, or None.
        dropout: on the sum.

    Source: Vaswani et al. 2017, sections 3.4 and 5.4.
    """

    def __init__(
        self, *, vocabulary: int, dim: int, scale: float = 1.0, norm: nn.LayerNorm | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.table.weight, std=dim**-0.5)
        self.scale = scale
        self.norm = nn.Identity() if norm is None else norm
        self.dropout = Dropout(dropout)

    def forward(
        self, ids: Int[Tensor, "batch words"], pos: Float[Tensor, "words dim"]
    ) -> Float[Tensor, "batch words dim"]:
        """Words at their places."""
        words = self.table(ids)
        if self.scale != 1.0:
            words = words * self.scale
        return self.dropout(self.norm(words + pos))
