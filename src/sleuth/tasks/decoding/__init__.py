"""Decoding: greedy search, beam search, sampling, streaming; scores and alignments of given translations."""

from sleuth.tasks.decoding.alignment import Alignment, align_ids
from sleuth.tasks.decoding.options import DecodingOptions, Hypothesis
from sleuth.tasks.decoding.prepared import prepare
from sleuth.tasks.decoding.scoring import score_ids
from sleuth.tasks.decoding.stream import stream_ids
from sleuth.tasks.decoding.translate import iterate_translations, translate_ids

__all__ = [
    "Alignment",
    "DecodingOptions",
    "Hypothesis",
    "align_ids",
    "iterate_translations",
    "prepare",
    "score_ids",
    "stream_ids",
    "translate_ids",
]
