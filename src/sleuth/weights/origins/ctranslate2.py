"""CTranslate2's translators: a folder with model.bin, or the variables as an .npz, become a `Seq2Seq`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq, build_seq2seq
from sleuth.weights.checkpoint import fill
from sleuth.weights.maps.ctranslate2 import ctranslate2
from sleuth.weights.origins.ctranslate2_config import ACTIVATIONS, Attributes, id_of, read_numbers, weight_of
from sleuth.weights.origins.ctranslate2_file import REVISION, SPEC, full_precision, read_model_bin, read_npz
from sleuth.weights.origins.ctranslate2_vocabulary import Vocabularies, read_vocabularies
from sleuth.weights.origins.fields import Fields

MODEL = "model.bin"
CONFIG = "config.json"
_TABLE = "position_encodings/encodings"


@dataclass(frozen=True)
class CTranslate2Model:
    """A model of CTranslate2's, as ours.

    Args:
        model: in evaluation mode.
        vocabularies: its tokens; how text is cut into them, such a folder does not say.
        source_start: ids that every source sentence begins with.
        source_end: ids that every source sentence ends with.
    """

    model: Seq2Seq
    vocabularies: Vocabularies
    source_start: tuple[int, ...] = ()
    source_end: tuple[int, ...] = ()


def open_ctranslate2_folder(folder: Path) -> CTranslate2Model:
    """A translator from a folder of CTranslate2's, with model.bin, vocabularies and perhaps config.json.

    Quantised weights are made full precision again; what rounding lost stays lost.

    Raises:
        UserError: a file is missing or broken, or the model does something that ours does not.
    """
    folder = Path(folder)
    path = folder / MODEL
    read = read_model_bin(path)
    if read.spec != SPEC:
        what = f"a model of the kind {read.spec!r} is no translator of words"
        raise UserError(what, where=path, mend=f"name one of the kind {SPEC}")
    if read.revision != REVISION:
        what = f"revision {read.revision} of the layout is not read, only {REVISION}"
        raise UserError(what, where=path, mend="convert the original again with a newer CTranslate2")
    return _load(read.variables, path, read_vocabularies(folder), _config_of(folder))


def open_ctranslate2_npz(
    path: Path, *, num_heads: int, activation: str = "relu", vocabularies: Path | None = None
) -> CTranslate2Model:
    """A translator from variables that NumPy saved under CTranslate2's names; they say neither heads nor activation.

    Args:
        path: an .npz file.
        num_heads: attention heads.
        activation: relu, gelu, gelu_tanh or silu.
        vocabularies: folder of the vocabularies; None takes the file's own.

    Raises:
        UserError: a file is missing or broken, or the model does something that ours does not.
    """
    path = Path(path)
    numbers = {name: number for number, name in ACTIVATIONS.items()}
    if activation not in numbers:
        raise UserError(f"the activation {activation!r} is unknown", mend=f"known: {', '.join(numbers)}")
    said = {"num_heads": num_heads, "activation": numbers[activation]}
    told = {f"{side}/{name}": torch.tensor(value) for side in ("encoder", "decoder") for name, value in said.items()}
    variables = told | read_npz(path)
    for side in ("encoder", "decoder"):
        pre_norm = f"{side}/layer_norm/gamma" in variables
        variables.setdefault(f"{side}/pre_norm", torch.tensor(pre_norm))
    folder = path.parent if vocabularies is None else Path(vocabularies)
    return _load(variables, path, read_vocabularies(folder), _config_of(folder))


def _load(
    variables: Mapping[str, Tensor], where: Path, vocabularies: Vocabularies, values: Mapping[str, Any]
) -> CTranslate2Model:
    full = full_precision(variables)
    attributes = Attributes({name: tensor for name, tensor in full.items() if not tensor.dim()}, where)
    weights = {name: tensor for name, tensor in full.items() if tensor.dim()}
    tables = {side: weights.pop(f"{side}/{_TABLE}", None) for side in ("encoder", "decoder")}
    fields = Fields(values, where.parent / CONFIG)
    vocabularies = _completed(vocabularies, weights, fields, where)
    config = read_numbers(attributes, weights, tables, vocabularies, fields)
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in build_seq2seq(config).state_dict().items()}
    learned: dict[str, Tensor] = {}
    if config.positions == "learned":
        for side, ours in (("encoder", "source"), ("decoder", "target")):
            table = tables[side]
            assert table is not None
            learned[f"{ours}_positions.table"] = table
    wanted = {key: shape for key, shape in shapes.items() if key not in learned}
    try:
        filled = ctranslate2().load(weights, wanted) | learned
    except UserError as error:
        raise UserError(error.what, where=where, mend="this model does something that ours does not") from error
    model = build_seq2seq(config)
    fill(model, filled, where)
    bos, eos = (fields.text(f"{role}_token", usual) for role, usual in (("bos", "<s>"), ("eos", "</s>")))
    return CTranslate2Model(
        model.eval(),
        vocabularies,
        source_start=id_of(vocabularies.source, bos, fields) if fields.truth("add_source_bos", False) else (),
        source_end=id_of(vocabularies.source, eos, fields) if fields.truth("add_source_eos", False) else (),
    )


def _completed(vocabularies: Vocabularies, weights: Mapping[str, Tensor], fields: Fields, where: Path) -> Vocabularies:
    """With the unknown token at the end, where the files leave it out, and of the sizes of the tables.

    Raises:
        UserError: a vocabulary and its table have different sizes.
    """
    unk = fields.text("unk_token", "<unk>")
    tables = {
        "source": weight_of(weights, ("encoder/embeddings_0/weight", "encoder/embeddings/weight"), where),
        "target": weight_of(weights, ("decoder/embeddings/weight",), where),
    }
    sides: dict[str, tuple[str, ...]] = {}
    for side, table in tables.items():
        tokens: tuple[str, ...] = getattr(vocabularies, side)
        sides[side] = tokens if unk in tokens else (*tokens, unk)
        if len(sides[side]) != len(table):
            what = f"the {side} vocabulary has {len(sides[side])} tokens, but the weights are for {len(table)}"
            raise UserError(what, where=where.parent, mend="check whether they belong together")
    return Vocabularies(**sides)


def _config_of(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"not readable JSON ({error})", where=path, mend="copy or convert it again") from error
    if not isinstance(values, dict):
        raise UserError("holds no JSON object", where=path, mend="copy or convert it again")
    return values
