"""Our translators written as CTranslate2 loads them: model.bin, vocabularies, config.json, and the tokenizers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.weights.maps.ctranslate2 import ctranslate2
from sleuth.weights.origins.ctranslate2 import ACTIVATIONS, CONFIG, MODEL, NORM_EPSILON
from sleuth.weights.origins.ctranslate2_file import write_model_bin
from sleuth.weights.origins.ctranslate2_vocabulary import Vocabularies, write_vocabularies

TOKENIZERS = "sleuth_tokenizers.json"
_NEVER = -1e4  # as a bias, leaves a word no probability, also in half precision
_POSITIONS = ("source_positions.", "target_positions.")


def export_ctranslate2(model: Seq2Seq, tokenizers: tuple[Tokenizer, Tokenizer], folder: Path) -> None:
    """Write a translator as CTranslate2 loads it.

    It is given pieces, the end of the sentence among them, and answers with pieces; ``sleuth_tokenizers.json`` keeps
    how text is cut into them. Words that are never emitted get a bias that leaves them no probability.

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
    write_vocabularies(folder, vocabularies)
    write_model_bin(folder / MODEL, _variables(model))
    _write_json(folder / TOKENIZERS, {"source": source.to_card(), "target": target.to_card()})
    _write_json(folder / CONFIG, _config_json(config, vocabularies, target))


def read_tokenizers(folder: Path) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of the source and the target side that `export_ctranslate2` wrote.

    Raises:
        UserError: there are none, or they are damaged.
    """
    path = Path(folder) / TOKENIZERS
    if not path.is_file():
        mend = "convert a model of Sleuth's with `sleuth convert --to ctranslate2`"
        raise UserError(f"this folder holds no {TOKENIZERS}, so nothing says how to cut text", where=folder, mend=mend)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        cards = values["source"], values["target"]
        source, target = (Tokenizer.from_card({str(key): str(value) for key, value in card.items()}) for card in cards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not readable ({error})", where=path, mend="copy it again, or convert the model again") from error
    return source, target


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


def _config_json(config: Seq2SeqConfig, vocabularies: Vocabularies, target: Tokenizer) -> dict[str, Any]:
    return {
        "add_source_bos": False,
        "add_source_eos": False,
        "bos_token": vocabularies.target[config.bos_id],
        "decoder_start_token": vocabularies.target[config.bos_id],
        "eos_token": vocabularies.target[config.eos_id],
        "layer_norm_epsilon": NORM_EPSILON,
        "multi_query_attention": False,
        "unk_token": _unknown(config, vocabularies, target),
    }


def _unknown(config: Seq2SeqConfig, vocabularies: Vocabularies, target: Tokenizer) -> str:
    """What stands for unknown tokens, of which there will be none. One that is missing would be added to the sides."""
    ids: Sequence[int | None] = (target.unk_id, config.pad_id, config.eos_id)
    names = [vocabularies.target[number] for number in ids if number is not None]
    return next((name for name in names if name in vocabularies.source), names[0])


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
