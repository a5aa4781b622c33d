"""What a recipe trains: a detector, a translation model or a classifier, as its tables say."""

from collections.abc import Mapping
from typing import Any, Literal

from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
from sleuth.weights.translators import is_translator

Kind = Literal["detection", "translation"]


def kind_of(tables: Mapping[str, Any]) -> Kind:
    """What these tables train.

    >>> kind_of({"model": {"name": "transformer-small"}}), kind_of({"model": {"name": "detr-r50"}})
    ('translation', 'detection')
    """
    model = tables.get("model", {})
    model = model if isinstance(model, Mapping) else {}
    if model.get("family") == "seq2seq" or model.get("name") in SEQ2SEQ_VARIANTS or "tokenizer" in tables:
        return "translation"
    weights = model.get("weights")
    return "translation" if isinstance(weights, str) and weights and is_translator(weights) else "detection"
