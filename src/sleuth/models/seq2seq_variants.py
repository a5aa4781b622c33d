"""Sizes of encoder-decoder Transformers by name: numbers only. Vocabularies come with the data."""

from collections.abc import Mapping
from dataclasses import replace

from sleuth.models.seq2seq import Seq2SeqConfig

_BASE = Seq2SeqConfig(attention_dropout=0.0, activation_dropout=0.0)
_BIG = replace(_BASE, dim=1024, num_heads=16, feedforward_dim=4096, dropout=0.3)
_SMALL = replace(_BASE, dim=256, num_heads=4, encoder_layers=4, decoder_layers=4, feedforward_dim=1024, dropout=0.3)
_TINY = replace(_SMALL, dim=128, encoder_layers=3, decoder_layers=3, feedforward_dim=512, dropout=0.1)

SEQ2SEQ_VARIANTS: Mapping[str, Seq2SeqConfig] = {
    "transformer-big": _BIG,
    "transformer-base": _BASE,
    "transformer-small": _SMALL,
    "transformer-tiny": _TINY,
}
"""Base and big are rows of table 3 of Vaswani et al. 2017, whose dropout is on embeddings and branches alone."""
