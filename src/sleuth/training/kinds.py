"""What a recipe trains, as its tables say: a detector, a translation model, a classifier, a model of pixel classes."""

from collections.abc import Mapping
from typing import Any, Literal

from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
from sleuth.models.vit_variants import VIT_VARIANTS
from sleuth.weights.classifiers import is_classifier
from sleuth.weights.segmenter import is_segmenter
from sleuth.weights.translators import is_translator

Kind = Literal["detection", "translation", "classification", "semantic segmentation"]


def kind_of(tables: Mapping[str, Any]) -> Kind:
    """What these tables train.

    >>> kind_of({"model": {"name": "transformer-small"}}), kind_of({"model": {"name": "detr-r50"}})
    ('translation', 'detection')
    >>> kind_of({"model": {"name": "vit-s16"}})
    'classification'
    >>> kind_of({"model": {"name": "segmenter-s16"}})
    'semantic segmentation'
    """
    model = tables.get("model", {})
    model = model if isinstance(model, Mapping) else {}
    if model.get("family") == "seq2seq" or model.get("name") in SEQ2SEQ_VARIANTS or "tokenizer" in tables:
        return "translation"
    if model.get("family") == "segmenter" or model.get("name") in SEGMENTER_VARIANTS:
        return "semantic segmentation"
    if model.get("family") == "vit" or model.get("name") in VIT_VARIANTS:
        return "classification"
    weights = model.get("weights")
    if not isinstance(weights, str) or not weights:
        return "detection"
    if is_translator(weights):
        return "translation"
    if is_segmenter(weights):
        return "semantic segmentation"
    return "classification" if is_classifier(weights) else "detection"
