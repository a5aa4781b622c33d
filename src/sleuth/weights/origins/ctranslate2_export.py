"""Our translators written as CTranslate2 loads them: model.bin, vocabularies, config.json, and the tokenizers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.maps.ctranslate2 import ctranslate2
from sleuth.weights.origins.ctranslate2 import CONFIG, MODEL
from sleuth.weights.origins.ctranslate2_config import ACTIVATIONS, NORM_EPSILON
from sleuth.weights.origins.ctranslate2_file import write_model_bin
from sleuth.weights.origins.ctranslate2_vocabulary import Vocabularies, write_vocabularies

BESIDE = "sleuth.json"
"""Keeps what the engine has no use for: how text is cut into tokens, and how long a sentence may be."""
_NEVER = -1e4  # as a bias, leaves a word no probability, also in half precision
_POSITIONS = ("source_positions.", "target_positions.")


def export_ctranslate2(model: Seq2Seq, tokenizers: tuple[Tokenizer, Tokenizer], folder: Path) -> None:
    """Write a translator as CTranslate2 loads it.

    It is given pieces, the end of the sentence among them, and answers with pieces; ``sleuth.json`` keeps how
    text is cut into them. Words that are never emitted get a bias that leaves them no probability.

    Args:
        model: the translator.
        tokenizers: of the source side and of the target side.
        folder: where the files go; it exists or is made.

    Raises:
        UserError: tokenizer and model do not belong together, or the folder cannot be written to.
    """
    folder, config = Path(folder), model.config
    source, target = tokenizers
    source.check_size(config.source_vocab)
    target.check_size(config.target_vocab)
    vocabularies = Vocabularies(_tokens(source, config.source_vocab), _tokens(target, config.target_vocab))
    unknown = None if target.unk_id is None else vocabularies.target[target.unk_id]
    write_translator(folder, model, vocabularies, unknown=unknown)
    cards = {"source": source.to_card(), "target": target.to_card()}
    _write_json(folder / BESIDE, {"max_positions": config.max_positions} | cards)


def write_translator(folder: Path, model: Seq2Seq, vocabularies: Vocabularies, *, unknown: str | None = None) -> None:
    """Write model.bin, vocabularies and config.json; nothing tells how text is cut into tokens.

    Args:
        folder: where the files go.
        model: the translator.
        vocabularies: a token for each of its ids.
        unknown: the token that stands for unknown ones, where there is one.

    Raises:
        UserError: a token is there twice, or the folder cannot be written to.
    """
    folder = Path(folder)
    write_vocabularies(folder, vocabularies)
    write_model_bin(folder / MODEL, _variables(model))
    _write_json(folder / CONFIG, _config_json(model.config, vocabularies, unknown))


@dataclass(frozen=True)
class Beside:
    """What `export_ctranslate2` keeps beside the engine's own files.

    Args:
        source: tokenizer of the sentences that are read.
        target: tokenizer of those that are written.
        max_positions: the most tokens of a sentence, on either side.
    """

    source: Tokenizer
    target: Tokenizer
    max_positions: int


def read_beside(folder: Path) -> Beside:
    """What `export_ctranslate2` kept beside the engine's own files.

    Raises:
        UserError: there is nothing, or it is damaged.
    """
    path = Path(folder) / BESIDE
    if not path.is_file():
        mend = "convert a model of Sleuth's with `sleuth convert --to ctranslate2`"
        raise UserError(f"this folder holds no {BESIDE}, so nothing says how to cut text", where=folder, mend=mend)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        cards = ({str(key): str(value) for key, value in values[side].items()} for side in ("source", "target"))
        source, target = (Tokenizer.from_card(card) for card in cards)
        return Beside(source, target, int(values["max_positions"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"not readable ({error})", where=path, mend="copy it again, or convert the model again"
        ) from error


def _variables(model: Seq2Seq) -> dict[str, Tensor]:
    """The weights, the tables of positions and the attributes."""
    config = model.config
    state = {key: tensor.detach().cpu().float() for key, tensor in model.state_dict().items()}
    if config.banned_ids:
        bias = state.get("head.bias", torch.zeros(config.target_vocab)).clone()
        bias[list(config.banned_ids)] = _NEVER
        state["head.bias"] = bias
    variables = ctranslate2().export({key: value for key, value in state.items() if not key.startswith(_POSITIONS)})
    numbers = {name: number for number, name in ACTIVATIONS.items()}
    heads = {"encoder": config.num_heads, "decoder": config.decoder_num_heads or config.num_heads}
    tables = {"encoder": model.source_positions.table, "decoder": model.target_positions.table}
    for side in ("encoder", "decoder"):
        variables |= {
            f"{side}/num_heads": torch.tensor(heads[side], dtype=torch.int16),
            f"{side}/pre_norm": torch.tensor(config.pre_norm, dtype=torch.int8),
            f"{side}/activation": torch.tensor(numbers[config.activation], dtype=torch.int8),
            f"{side}/scale_embeddings": torch.tensor(config.scale_embedding, dtype=torch.int8),
            f"{side}/position_encodings/encodings": tables[side].detach().cpu().float(),
        }
    variables |= {
        "encoder/embeddings_merge": torch.tensor(0, dtype=torch.int8),
        "decoder/alignment_layer": torch.tensor(-1, dtype=torch.int16),
        "decoder/alignment_heads": torch.tensor(1, dtype=torch.int16),
    }
    return variables


def _tokens(tokenizer: Tokenizer, size: int) -> tuple[str, ...]:
    """A name for each id. Ids without a piece, and pieces that are spelled as another is, get one of their own."""
    names: list[str] = []
    taken: set[str] = set()
    for number, piece in enumerate([*tokenizer.pieces(range(tokenizer.vocabulary_size)), *[""] * size][:size]):
        name = piece if piece and piece not in taken else f"<unused{number}>"
        taken.add(name)
        names.append(name)
    return tuple(names)


def _config_json(config: Seq2SeqConfig, vocabularies: Vocabularies, unknown: str | None) -> dict[str, Any]:
    usual = [vocabularies.target[number] for number in (config.pad_id, config.eos_id)]
    # An unknown token that a vocabulary lacks would be added to it, so that it were larger than its table.
    names = [*([] if unknown is None else [unknown]), *usual]
    return {
        "add_source_bos": False,
        "add_source_eos": False,
        "bos_token": vocabularies.target[config.bos_id],
        "decoder_start_token": vocabularies.target[config.bos_id],
        "eos_token": vocabularies.target[config.eos_id],
        "layer_norm_epsilon": NORM_EPSILON,
        "multi_query_attention": False,
        "unk_token": next((name for name in names if name in vocabularies.source), names[0]),
    }


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
