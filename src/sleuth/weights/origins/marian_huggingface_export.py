"""Our translators written as Hugging Face's `MarianMTModel` loads them; what it cannot express is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.files import atomic_write
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.checkpoint import save_tensors
from sleuth.weights.hub import CONFIG, WEIGHTS
from sleuth.weights.maps.marian_huggingface import marian_huggingface
from sleuth.weights.origins.generation_huggingface import generation_json
from sleuth.weights.origins.marian_huggingface import GENERATION
from sleuth.weights.origins.marian_huggingface_config import config_json
from sleuth.weights.origins.marian_tokenizers import write_marian_tokenizers

# Of these tensors the rows are channels of the states that run through the model, of all other matrices the columns.
_ROWS = (".out_proj.weight", ".linear2.weight")
_VECTORS = (".out_proj.bias", ".linear2.bias", *(f".norm{n}.{part}" for n in (1, 2, 3) for part in ("weight", "bias")))
_COLUMNS = (".q_proj.weight", ".k_proj.weight", ".v_proj.weight", ".linear1.weight", ".table.weight", "head.weight")


def write_marian_folder(
    folder: Path, model: Seq2Seq, source: Tokenizer, target: Tokenizer, *, options: DecodingOptions | None = None
) -> None:
    """Write a translator as Hugging Face's library loads it: configurations, weights and tokenizers.

    Where sines and cosines alternate in our positions, the channels of the whole model are put in Marian's order, sines
    first: the same sums in another order.

    Args:
        folder: where the files go; it exists or is made.
        model: the translator.
        source: tokenizer of the sentences that are read.
        target: tokenizer of those that are written.
        options: how the model is meant to be asked; None asks for greedy search.

    Raises:
        UserError: Hugging Face's Marian cannot express the model, tokenizer and model do not belong together, or the
            folder cannot be written to.
    """
    folder, config = Path(folder), model.config
    options = DecodingOptions() if options is None else options
    values = config_json(config)
    source.check_size(config.source_vocab)
    target.check_size(config.target_vocab)
    save_tensors(folder / WEIGHTS[0], _tensors(model), {"format": "pt"})
    write_marian_tokenizers(folder, source, target, shared=config.tie == "all", max_length=config.max_positions)
    _write_json(folder / GENERATION, generation_json(config, options))
    _write_json(folder / CONFIG, values)


def _tensors(model: Seq2Seq) -> dict[str, Tensor]:
    """The weights under Hugging Face's names, each once."""
    config = model.config
    doubles = {"head.weight"} | ({"source_embedding.table.weight"} if config.tie == "all" else set())
    state = {key: tensor.detach().cpu().float() for key, tensor in model.state_dict().items() if key not in doubles}
    if config.sine_layout == "interleaved":
        state = _sines_first(state, config)
    state.setdefault("head.bias", torch.zeros(config.target_vocab))
    keys = marian_huggingface("all" if config.tie == "all" else "target_output")
    exported = keys.export(state)
    aliases = {alias for rule in keys.rules for alias in rule.aliases}
    return {key: tensor.contiguous() for key, tensor in exported.items() if key not in aliases}


def _sines_first(state: Mapping[str, Tensor], config: Seq2SeqConfig) -> dict[str, Tensor]:
    """The same model with the channels of its states in another order: even ones first, then odd ones."""
    order = torch.cat((torch.arange(0, config.dim, 2), torch.arange(1, config.dim, 2)))
    moved: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith(_COLUMNS):
            moved[key] = tensor[:, order]
        elif key.endswith((*_ROWS, *_VECTORS)):
            moved[key] = tensor[order]
        else:  # biases of projections and of the hidden layer, which are within heads or hidden, and of the head
            moved[key] = tensor
    return moved


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
