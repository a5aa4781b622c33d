"""Hugging Face's Marian, such as ``Helsinki-NLP/opus-mt-en-de``: from a folder to a translator."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.nn.tokens import sine_table
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.checkpoint import fill
from sleuth.weights.hub import CONFIG
from sleuth.weights.maps.marian_huggingface import marian_huggingface
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.folder_files import read_object, read_weights
from sleuth.weights.origins.generation_huggingface import Generation, read_generation
from sleuth.weights.origins.marian_huggingface_config import ARCHITECTURE, MODEL_TYPE, read_config, tied_by
from sleuth.weights.origins.marian_tokenizers import CONFIG as TOKENIZER_CONFIG
from sleuth.weights.origins.marian_tokenizers import (
    SOURCE,
    TARGET,
    TARGET_VOCABULARY,
    VOCABULARY,
    read_marian_tokenizers,
)
from sleuth.weights.origins.reading import FolderWeights

GENERATION = "generation_config.json"
MARIAN_FILES = (GENERATION, TOKENIZER_CONFIG, SOURCE, TARGET, VOCABULARY, TARGET_VOCABULARY)
"""What such a model has beside its configuration and weights, as far as it has them; for `hub.snapshot`."""
_LOGITS_BIAS = "final_logits_bias"
# Tables of sines may be stored in half precision, but another kind of positions is farther off.
_SINES_ALIKE = 2e-3


@dataclass(frozen=True)
class MarianFolder:
    """A translator of Hugging Face's, as ours.

    Args:
        model: in evaluation mode.
        source: tokenizer of the sentences that are read.
        target: tokenizer of those that are written.
        options: how the model is meant to be asked.
    """

    model: Seq2Seq
    source: Tokenizer
    target: Tokenizer
    options: DecodingOptions


def open_marian_folder(folder: Path) -> MarianFolder:
    """A translator from a folder of this machine, in the form of Hugging Face's `MarianMTModel`.

    Args:
        folder: with config.json, perhaps generation_config.json, with model.safetensors or pytorch_model.bin, whole or
            in shards, and with the tokenizers' source.spm, target.spm and vocab.json.

    Raises:
        UserError: a file is missing or broken, another architecture, a field that cannot be honoured, or files that do
            not belong together.
    """
    folder = Path(folder)
    config, options = read_marian_config(folder)
    source, target = read_marian_tokenizers(folder, pad_id=config.pad_id, eos_id=config.eos_id)
    source.check_size(config.source_vocab, where=folder)
    target.check_size(config.target_vocab, where=folder)
    weights = read_weights(folder)
    model = build_seq2seq(config)
    fill(model, _own(weights, config), weights.file)
    return MarianFolder(model.eval(), source, target, options)


def read_marian_config(folder: Path) -> tuple[Seq2SeqConfig, DecodingOptions]:
    """What a folder's config.json and generation_config.json say, before its weights are there.

    Raises:
        UserError: one of them is missing or broken, another architecture, or a field that cannot be honoured.
    """
    where, asked = Path(folder) / CONFIG, Path(folder) / GENERATION
    values = read_object(where)
    fields = Fields(values, where)
    if fields.any("model_type") != MODEL_TYPE:
        raise fields.fault("model_type", f"only {MODEL_TYPE} is a translator")
    for name in values.get("architectures") or ():
        if name != ARCHITECTURE:
            raise UserError(
                f"the architecture {name!r} cannot be loaded", where=where, mend=f"supported: {ARCHITECTURE}"
            )
    plain = read_config(values, where)
    ids = {"eos_id": plain.eos_id, "start_id": plain.bos_id}
    generation: Generation
    if asked.is_file():
        generation = read_generation(read_object(asked), asked, **ids)
    else:
        generation = read_generation(values, where, **ids)
    return read_config(values, where, generation.banned_ids), generation.options


def _own(weights: FolderWeights, config: Seq2SeqConfig) -> dict[str, Tensor]:
    """The state dict under our names, with a table that is one under each of them."""
    _check_positions(weights, config)
    tied = tied_by({"share_encoder_decoder_embeddings": config.tie == "all"}, weights.file)
    theirs = dict(weights.tensors)
    theirs.setdefault(_LOGITS_BIAS, torch.zeros(1, config.target_vocab))
    doubles = ("head.weight", "source_embedding.table.weight")[: 2 if tied == "all" else 1]
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in build_seq2seq(config).state_dict().items()}
    wanted = {key: shape for key, shape in shapes.items() if key not in doubles}
    try:
        ours = marian_huggingface(tied).load(theirs, wanted)
    except UserError as error:
        mend = f"check whether {CONFIG} belongs to these weights"
        raise UserError(error.what, where=weights.file, mend=mend) from error
    return ours | dict.fromkeys(doubles, ours["target_embedding.table.weight"])


def _check_positions(weights: FolderWeights, config: Seq2SeqConfig) -> None:
    """Where the file holds tables of positions, they are the sines that the model computes."""
    for side in ("encoder", "decoder"):
        key = f"model.{side}.embed_positions.weight"
        table = weights.tensors.get(key)
        if table is None:
            continue
        sines = sine_table(config.max_positions, config.dim, layout="halves")
        if table.shape != sines.shape or not torch.allclose(table.float(), sines, atol=_SINES_ALIKE, rtol=0):
            what = f"{key!r} does not hold the sines of {config.max_positions} positions"
            raise UserError(what, where=weights.file, mend="only Marian's own sine positions are supported")
