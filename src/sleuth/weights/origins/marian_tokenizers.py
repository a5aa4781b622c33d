"""The tokenizers of Hugging Face's Marian: a sentencepiece model a side, and the ids of pieces in files beside them.

For tokenizers of Hugging Face's other library, `tokenizers`, it has no file: they are written as tokenizer.json, one
for both sides, or each in a folder of its own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sleuth.errors import UserError
from sleuth.files import atomic_write
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.tasks.tokenizer_engines import HuggingFaceEngine, SentencepieceEngine
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.folder_files import read_object

SOURCE, TARGET = "source.spm", "target.spm"
JSON, FOLDERS = "tokenizer.json", ("source_tokenizer", "target_tokenizer")
VOCABULARY, TARGET_VOCABULARY = "vocab.json", "target_vocab.json"
CONFIG = "tokenizer_config.json"
ROLES: Mapping[str, str] = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
"""The special tokens of such a tokenizer, and how they are spelled unless it says otherwise."""

_AGAIN = "copy or download it again"


def read_marian_tokenizers(folder: Path, *, pad_id: int, eos_id: int) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of the source and the target side.

    With one vocabulary, text is put together by the source side's sentencepiece model, as Hugging Face does it: pieces
    are spelled the same in both.

    Args:
        folder: with source.spm, target.spm, vocab.json, and where there are two vocabularies target_vocab.json; or with
            what `write_marian_tokenizers` makes of other tokenizers.
        pad_id: as the model's configuration has it.
        eos_id: likewise.

    Raises:
        UserError: a file is missing or broken, or does not belong to the model.
    """
    folder = Path(folder)
    if all((folder / side / JSON).is_file() for side in FOLDERS):
        source, target = (_read_json_tokenizer(folder / side) for side in FOLDERS)
    elif (folder / JSON).is_file() and not (folder / SOURCE).is_file():
        source = target = _read_json_tokenizer(folder)
    else:
        source, target = _read_sentencepiece(folder)
    if (target.pad_id, target.eos_id) != (pad_id, eos_id):
        what = f"padding and end are the ids {target.pad_id} and {target.eos_id}, but the model's {pad_id} and {eos_id}"
        raise UserError(what, where=folder, mend="take the tokenizers that belong to the model")
    return source, target


def _read_sentencepiece(folder: Path) -> tuple[Tokenizer, Tokenizer]:
    fields = _config_of(folder)
    names = {role: _token(fields, role) for role in ROLES}
    separate = fields.truth("separate_vocabs", False)
    models = {name: _read_bytes(folder / name) for name in (SOURCE, TARGET)}
    sides = ((SOURCE, VOCABULARY), (TARGET, TARGET_VOCABULARY) if separate else (SOURCE, VOCABULARY))
    made = []
    for model, vocabulary in sides:
        ids = _read_vocabulary(folder / vocabulary)
        if missing := next((name for name in names.values() if name not in ids), None):
            raise UserError(f"lacks the token {missing!r}", where=folder / vocabulary, mend=_AGAIN)
        try:
            engine = SentencepieceEngine(models[model], ids, names["unk"])
        except UserError as error:
            raise UserError(error.what, where=folder / model, mend=_AGAIN) from error
        made.append(Tokenizer(engine, pad=names["pad"], eos=names["eos"], unk=names["unk"]))
    return made[0], made[1]


def _read_json_tokenizer(folder: Path) -> Tokenizer:
    path, fields = folder / JSON, _config_of(folder)
    try:
        engine = HuggingFaceEngine(_read_bytes(path).decode("utf-8"))
    except (UserError, UnicodeDecodeError) as error:
        raise UserError("not a tokenizer.json", where=path, mend=_AGAIN) from error
    pad, eos, unk = (_token(fields, role) if f"{role}_token" in fields else None for role in ("pad", "eos", "unk"))
    return Tokenizer(engine, pad=pad, eos=eos, unk=unk)


def write_marian_tokenizers(
    folder: Path, source: Tokenizer, target: Tokenizer, *, shared: bool, max_length: int
) -> None:
    """Write tokenizers as Hugging Face's library loads them.

    Args:
        folder: where the files go.
        source: of the sentences that are read.
        target: of those that are written.
        shared: both sides have one table of embeddings, and so one vocabulary.
        max_length: most tokens of a sentence.

    Raises:
        UserError: the two have one table but different vocabularies, or a file cannot be written.
    """
    if shared and source != target:
        what = "the model has one table of embeddings, but two tokenizers"
        raise UserError(what, mend="use the tokenizers that the model was trained with")
    common = {
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    if isinstance(source.engine, SentencepieceEngine) and isinstance(target.engine, SentencepieceEngine):
        names = {f"{role}_token": usual for role, usual in ROLES.items()}
        _write(folder / SOURCE, source.engine.model)
        _write(folder / TARGET, target.engine.model)
        _write_object(folder / VOCABULARY, _ids(source))
        if not shared:
            _write_object(folder / TARGET_VOCABULARY, _ids(target))
        kind = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": not shared}
        _write_object(folder / CONFIG, kind | names | common)
        return
    for name, tokenizer in zip(("",) if shared else FOLDERS, (source, target), strict=False):
        names = {f"{role}_token": name for role, name in _names(tokenizer).items()}
        _write_object(folder / name / JSON, _json_of(tokenizer))
        _write_object(folder / name / CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast"} | names | common)


def _names(tokenizer: Tokenizer) -> dict[str, str]:
    """The spelling of each special token that there is."""
    ids = {"pad": tokenizer.pad_id, "eos": tokenizer.eos_id, "unk": tokenizer.unk_id}
    return {role: tokenizer.pieces([number])[0] for role, number in ids.items() if number is not None}


def _ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of pieces, with special tokens spelled as Marian spells them."""
    spelled = {tokenizer.pieces([number])[0]: number for number in range(tokenizer.vocabulary_size)}
    for role, name in _names(tokenizer).items():
        spelled[ROLES[role]] = spelled.pop(name)
    if ROLES["unk"] not in spelled:
        raise UserError("the tokenizer has no token for unknown text", mend="convert the model to ctranslate2")
    return spelled


def _json_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """A tokenizer.json that ends sentences and normalises them itself, as our tokenizer does beside it."""
    values = json.loads(tokenizer.engine.to_card()["json"])
    end, names = tokenizer.pieces([tokenizer.eos_id])[0], {"type_id": 0}
    values["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A"} | names}, {"SpecialToken": {"id": end} | names}],
        "pair": [
            {"Sequence": {"id": "A"} | names},
            {"Sequence": {"id": "B"} | names},
            {"SpecialToken": {"id": end} | names},
        ],
        "special_tokens": {end: {"id": end, "ids": [tokenizer.eos_id], "tokens": [end]}},
    }
    if tokenizer.normalise != "none":
        first = {"type": tokenizer.normalise.upper()}
        own = values.get("normalizer")
        values["normalizer"] = first if own is None else {"type": "Sequence", "normalizers": [first, own]}
    return values


def _config_of(folder: Path) -> Fields:
    where = folder / CONFIG
    return Fields(read_object(where) if where.is_file() else {}, where)


def _token(fields: Fields, role: str) -> str:
    """A special token, which may be a text or an object that holds it."""
    name, usual = f"{role}_token", ROLES[role]
    value = fields.any(name, usual)
    return fields.table(name).text("content", usual) if isinstance(value, dict) else fields.text(name, usual)


def _read_vocabulary(path: Path) -> dict[str, int]:
    ids: dict[str, int] = {}
    for piece, number in read_object(path).items():
        if type(number) is not int or number < 0:
            raise UserError(f"the id of {piece!r} is {number!r}, no number", where=path, mend=_AGAIN)
        ids[piece] = number
    if not ids or len(set(ids.values())) != len(ids):
        what = "holds no piece" if not ids else "two pieces have the same id"
        raise UserError(what, where=path, mend=_AGAIN)
    return ids


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"this folder holds no {path.name}", where=path.parent, mend="name a translator's folder"
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error})", where=path, mend=_AGAIN) from error


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _write_object(path: Path, values: Mapping[str, Any]) -> None:
    _write(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))
