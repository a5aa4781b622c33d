"""The encoder-decoder Transformer: source words are encoded, and each target word questions them for the next."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sleuth.nn.attention import causal_mask, padding_mask
from sleuth.nn.feedforward import Activation, FeedForward
from sleuth.nn.language import DecoderCache, LanguageDecoder
from sleuth.nn.layers import DecoderLayer, EncoderLayer
from sleuth.nn.stacks import Encoder
from sleuth.nn.tokens import LearnedTokenPositions, SinePositions1d, TokenEmbedding
from sleuth.types.text import TextMemory, TokenPrediction

_ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The numbers of an encoder-decoder Transformer.

    Args:
        source_vocab: words of the source side.
        target_vocab: words of the target side.
        dim: embedding size; even, and a multiple of num_heads.
        num_heads: attention heads.
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder.
        feedforward_dim: hidden size of the feed-forward networks.
        decoder_num_heads: attention heads of the decoder; None takes ``num_heads``.
        decoder_feedforward_dim: hidden size of the decoder's feed-forward networks; None takes ``feedforward_dim``.
        dropout: on embeddings and on every branch, while training.
        attention_dropout: on attention weights; None takes ``dropout``.
        activation_dropout: within feed-forward networks; None takes ``dropout``.
        activation: relu, gelu, gelu_tanh (its approximation) or silu.
        pre_norm: normalise before each branch rather than after the sum.
        final_norm: end both stacks with a norm; None does so for pre-norm only.
        norm_embedding: normalise embeddings after positions are added.
        positions: sine or learned.
        sine_layout: interleaved (sine, cosine, sine, ...) or halves (sines, then cosines).
        sine_endpoint: the last channel has the longest wavelength, as in fairseq; see `nn.tokens.sine_table`.
        position_start: number of the first sine position.
        max_positions: the most tokens of a sentence, on either side.
        scale_embedding: multiply embeddings by sqrt(dim).
        tie: which tables of words are one: none; target_output (target embeddings and output); source_target (both
            embeddings); all.
        output_bias: the output has a bias for each word.
        pad_id: fills up sentences of a batch.
        bos_id: what the decoder starts from.
        eos_id: ends a sentence.
        banned_ids: words that are never emitted.

    Raises:
        ValueError: a number that makes no model, with its name.

    Source: Vaswani et al. 2017, "Attention is all you need", table 3; the defaults are its base model.
    """

    source_vocab: int = 8000
    target_vocab: int = 8000
    dim: int = 512
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward_dim: int = 2048
    decoder_num_heads: int | None = None
    decoder_feedforward_dim: int | None = None
    dropout: float = 0.1
    attention_dropout: float | None = None
    activation_dropout: float | None = None
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "relu"
    pre_norm: bool = False
    final_norm: bool | None = None
    norm_embedding: bool = False
    positions: Literal["sine", "learned"] = "sine"
    sine_layout: Literal["interleaved", "halves"] = "interleaved"
    sine_endpoint: bool = False
    position_start: int = 0
    max_positions: int = 512
    scale_embedding: bool = True
    tie: Literal["none", "target_output", "source_target", "all"] = "target_output"
    output_bias: bool = False
    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    banned_ids: tuple[int, ...] = (0, 1)

    def __post_init__(self) -> None:
        for name in ("activation", "positions", "sine_layout", "tie"):
            known = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        least = {"source_vocab": 1, "target_vocab": 2, "dim": 2, "num_heads": 1, "encoder_layers": 0}
        least |= dict.fromkeys(("decoder_layers", "feedforward_dim", "decoder_num_heads"), 1)
        least |= {"decoder_feedforward_dim": 1, "position_start": 0, "max_positions": 1}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} = {value} is less than {limit}")
        for name in ("num_heads", "decoder_num_heads"):
            if self.dim % 2 or self.dim % (getattr(self, name) or 1):
                raise ValueError(f"dim = {self.dim} is not a multiple of 2 and of {name} = {getattr(self, name)}")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is not at least 0 and below 1")
        if self.tie in ("source_target", "all") and self.source_vocab != self.target_vocab:
            raise ValueError(
                f"tie = {self.tie!r} wants one vocabulary, but source_vocab = {self.source_vocab} and "
                f"target_vocab = {self.target_vocab}"
            )
        self._check_ids()

    def _check_ids(self) -> None:
        named = {"pad_id": self.pad_id, "bos_id": self.bos_id, "eos_id": self.eos_id}
        named |= {f"banned_ids[{i}]": word for i, word in enumerate(self.banned_ids)}
        for name, word in named.items():
            if not 0 <= word < self.target_vocab:
                raise ValueError(f"{name} = {word} is not within the target vocabulary of {self.target_vocab}")
        if self.pad_id >= self.source_vocab:
            raise ValueError(f"pad_id = {self.pad_id} is not within the source vocabulary of {self.source_vocab}")
        if self.eos_id in self.banned_ids:
            raise ValueError(f"banned_ids holds eos_id = {self.eos_id}: no sentence would ever end")


class Seq2Seq(nn.Module):
    """Embeddings, encoder, decoder, and a head over the vocabulary.

    Args: the parts, ready made, and the numbers they were made from; `build_seq2seq` makes them.

    Source: Vaswani et al. 2017, "Attention is all you need".
    """

    def __init__(
        self,
        *,
        source_embedding: TokenEmbedding,
        source_positions: SinePositions1d | LearnedTokenPositions,
        encoder: Encoder,
        target_embedding: TokenEmbedding,
        target_positions: SinePositions1d | LearnedTokenPositions,
        decoder: LanguageDecoder,
        head: nn.Linear,
        config: Seq2SeqConfig,
    ) -> None:
        super().__init__()
        self.source_embedding = source_embedding
        self.source_positions = source_positions
        self.encoder = encoder
        self.target_embedding = target_embedding
        self.target_positions = target_positions
        self.decoder = decoder
        self.head = head
        self.config = config

    def forward(
        self,
        source: Int[Tensor, "batch source_words"],
        target: Int[Tensor, "batch target_words"],
        source_valid: Bool[Tensor, "batch source_words"] | None = None,
        ask: Bool[Tensor, "batch target_words"] | None = None,
    ) -> TokenPrediction:
        """The next word after each prefix of the target, all at once (teacher forcing): memory, queries, states, head.

        Args:
            source: source words, padded at the right.
            target: BOS and the target words but the last, padded at the right.
            source_valid: True on source words; None where there is no padding.
            ask: positions of the target whose next word is asked for; None asks for all. Training leaves padding out,
                since the head over the vocabulary is the dearest part of the model.
        """
        memory = self.encode(source, source_valid)
        queries = self.target_embedding(target, self.target_positions(target.shape[1]))
        states = self.decode(queries, memory)
        return TokenPrediction(logits=self.head(states if ask is None else states[ask]), memory=memory)

    def encode(
        self,
        source: Int[Tensor, "batch source_words"],
        source_valid: Bool[Tensor, "batch source_words"] | None = None,
    ) -> TextMemory:
        """The source sentence as tokens that have looked at each other."""
        words = self.source_embedding(source, self.source_positions(source.shape[1]))
        attend = None if source_valid is None else padding_mask(source_valid)
        return TextMemory(tokens=self.encoder(words, None, attend), valid=source_valid)

    def decode(
        self, queries: Float[Tensor, "batch target_words dim"], memory: TextMemory
    ) -> Float[Tensor, "batch target_words dim"]:
        """States of target words that have looked at the words before them, and at the memory."""
        return self.decoder(
            queries,
            memory.tokens,
            attend=causal_mask(queries.shape[1], queries.device),
            attend_memory=None if memory.valid is None else padding_mask(memory.valid),
        )

    def start(self, memory: TextMemory) -> DecoderCache:
        """What decoding one word after another remembers, before the first word: the memory's keys and values."""
        return self.decoder.start(memory.tokens, memory.valid)

    @torch.no_grad()
    def step(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows vocabulary"]:
        """Read the newest words of each row, and predict the next: what `forward` says of the last of them.

        Args:
            words: BOS (and a prefix) at first, then one word at a time.
            cache: from `start`; it takes in the new words.
        """
        return self.head(self.advance(words, cache))

    @torch.no_grad()
    def advance(self, words: Int[Tensor, "rows new"], cache: DecoderCache) -> Float[Tensor, "rows dim"]:
        """As `step`, but the states that the head reads the next words from."""
        queries = self.target_embedding(words, self.target_positions(words.shape[1], cache.length))
        return self.decoder.step(queries, cache)[:, -1]


def build_seq2seq(config: Seq2SeqConfig) -> Seq2Seq:
    """An encoder-decoder Transformer with fresh weights."""
    dim, with_final_norm = config.dim, config.pre_norm if config.final_norm is None else config.final_norm

    def layer_options(num_heads: int, feedforward_dim: int) -> dict[str, Any]:
        return {
            "dim": dim,
            "num_heads": num_heads,
            "feedforward_dim": feedforward_dim,
            "dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
            "activation_dropout": config.activation_dropout,
            "activation": _ACTIVATIONS[config.activation],
            "pre_norm": config.pre_norm,
        }

    def embedding(vocabulary: int) -> TokenEmbedding:
        return TokenEmbedding(
            vocabulary=vocabulary,
            dim=dim,
            scale=math.sqrt(dim) if config.scale_embedding else 1.0,
            norm=nn.LayerNorm(dim) if config.norm_embedding else None,
            dropout=config.dropout,
        )

    encoder_options = layer_options(config.num_heads, config.feedforward_dim)
    decoder_options = layer_options(
        config.decoder_num_heads or config.num_heads, config.decoder_feedforward_dim or config.feedforward_dim
    )
    model = Seq2Seq(
        source_embedding=embedding(config.source_vocab),
        source_positions=_positions(config),
        encoder=Encoder(
            [EncoderLayer(**encoder_options) for _ in range(config.encoder_layers)],
            norm=nn.LayerNorm(dim) if with_final_norm else None,
        ),
        target_embedding=embedding(config.target_vocab),
        target_positions=_positions(config),
        decoder=LanguageDecoder(
            [DecoderLayer(**decoder_options) for _ in range(config.decoder_layers)],
            norm=nn.LayerNorm(dim) if with_final_norm else None,
        ),
        head=nn.Linear(dim, config.target_vocab, bias=config.output_bias),
        config=config,
    )
    _start_weights(model)
    tie_embeddings(model, config.tie)
    return model


def tie_embeddings(model: Seq2Seq, tie: str) -> None:
    """Make one parameter of the tables that are to be one; the target embeddings' stays.

    Source: Press and Wolf 2017, "Using the output embedding to improve language models".
    """
    table = model.target_embedding.table.weight
    if tie in ("target_output", "all"):
        model.head.weight = table
    if tie in ("source_target", "all"):
        model.source_embedding.table.weight = table


def _positions(config: Seq2SeqConfig) -> SinePositions1d | LearnedTokenPositions:
    if config.positions == "learned":
        return LearnedTokenPositions(length=config.max_positions, dim=config.dim)
    return SinePositions1d(
        length=config.max_positions,
        dim=config.dim,
        layout=config.sine_layout,
        start=config.position_start,
        endpoint=config.sine_endpoint,
    )


def _start_weights(model: Seq2Seq) -> None:
    """Xavier for feed-forward networks, as for attention; an output of its own starts as embeddings do."""
    for module in model.modules():
        if isinstance(module, FeedForward):
            for linear in (module.linear1, module.linear2):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
    nn.init.normal_(model.head.weight, std=model.config.dim**-0.5)
    if model.head.bias is not None:
        nn.init.zeros_(model.head.bias)
