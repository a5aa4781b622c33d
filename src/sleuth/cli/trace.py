"""`sleuth trace`."""

import torch

from sleuth.cli.console import print_text, write_json
from sleuth.cli.sizes import parse_lengths, parse_size
from sleuth.explain.segmenter_trace import trace_segmenter
from sleuth.explain.seq2seq_trace import TranslationTrace, trace_seq2seq
from sleuth.explain.trace import Trace, trace_model
from sleuth.explain.vit_trace import trace_vit
from sleuth.models.detector import Detector
from sleuth.models.segmenter import build_segmenter
from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.models.seq2seq import Seq2Seq, build_seq2seq
from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
from sleuth.models.vit import build_vit
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.tasks.preprocess import Preprocess
from sleuth.types.batches import ImageBatch
from sleuth.weights.catalog import build, entry
from sleuth.weights.classifiers import is_classifier, open_classifier
from sleuth.weights.resolve import is_path, open_model
from sleuth.weights.segmenter import is_segmenter, open_segmenter
from sleuth.weights.translators import is_translator, open_translator

USUAL_SIZE = (800, 600)
USUAL_WORDS = (12, 10)


def run_trace(model: str, size: str | None, *, layers: bool, as_json: bool) -> None:
    """Run the model once on noise, a picture or words, and print what flowed."""
    kinds = ((_is_seq2seq, trace_words), (is_segmenter, trace_pixel_classes), (is_classifier, trace_classifier))
    trace_kind = next((each for is_such, each in kinds if is_such(model)), trace_picture)
    trace: Trace | TranslationTrace = trace_kind(model, size, layers=layers)
    if as_json:
        write_json(trace.to_json(), "-")
    else:
        print_text(trace.render())


def trace_picture(model: str, size: str | None, *, layers: bool) -> Trace:
    """The flow of a detector. Without a size, the picture is of the one that it sees all in, or 800 x 600."""
    asked = None if size is None else parse_size(size)
    network, preprocess = _detector(model)
    usual = preprocess.size_hw if preprocess.resize == "exact" and preprocess.size_hw else USUAL_SIZE
    return trace_model(network, _noise(asked or usual), layers=layers, name=model)


def trace_classifier(model: str, size: str | None, *, layers: bool) -> Trace:
    """The flow of a vision Transformer. Without a size, the picture is of the one that it was made for."""
    if model in VIT_VARIANTS:
        network, config = build_vit(VIT_VARIANTS[model]), VIT_VARIANTS[model]
    else:
        loaded = open_classifier(model)
        network, config = loaded.model, loaded.config
    asked = config.image_hw if size is None else parse_size(size, least=1)
    return trace_vit(network, _noise(asked), layers=layers, name=model)


def trace_pixel_classes(model: str, size: str | None, *, layers: bool) -> Trace:
    """The flow of a Segmenter. Without a size, the picture is of the one that it was made for."""
    if model in SEGMENTER_VARIANTS:
        network, config = build_segmenter(SEGMENTER_VARIANTS[model]), SEGMENTER_VARIANTS[model]
    else:
        loaded = open_segmenter(model)
        network, config = loaded.model, loaded.config
    asked = config.vit.image_hw if size is None else parse_size(size, least=1)
    return trace_segmenter(network, _noise(asked), layers=layers, name=model)


def _noise(size_hw: tuple[int, int]) -> ImageBatch:
    height, width = size_hw
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    return ImageBatch(pixels=noise, valid=torch.ones(1, height, width, dtype=torch.bool))


def trace_words(model: str, size: str | None, *, layers: bool) -> TranslationTrace:
    """The flow of a translation model, on words drawn at random."""
    network = _seq2seq(model)
    config, draw = network.config, torch.Generator().manual_seed(0)
    lengths = USUAL_WORDS if size is None else parse_lengths(size, most=config.max_positions)
    source, target = (
        torch.randint(vocabulary, (1, min(length, config.max_positions)), generator=draw)
        for vocabulary, length in zip((config.source_vocab, config.target_vocab), lengths, strict=True)
    )
    return trace_seq2seq(network, source, target, layers=layers, name=model)


def _detector(model: str) -> tuple[Detector, Preprocess]:
    """The model, and how it sees pictures. Shapes do not depend on weights: a named architecture is built afresh."""
    if is_path(model):
        loaded = open_model(model)
        return loaded.model, loaded.preprocess
    return build(model), entry(model).preprocess


def _is_seq2seq(model: str) -> bool:
    return model in SEQ2SEQ_VARIANTS or is_translator(model)


def _seq2seq(model: str) -> Seq2Seq:
    if model in SEQ2SEQ_VARIANTS:
        return build_seq2seq(SEQ2SEQ_VARIANTS[model])
    return open_translator(model).model
