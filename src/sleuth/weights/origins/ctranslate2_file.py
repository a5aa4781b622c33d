"""CTranslate2's model.bin: named variables and aliases in one binary file; and the same variables as an .npz."""

import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.files import atomic_write

VERSION = 6
SPEC = "TransformerSpec"
REVISION = 7

# In the order of the format's numbers.
_DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
_AGAIN = "copy it again, or convert the model again"
_SCALE = "_scale"


@dataclass(frozen=True)
class CTranslate2File:
    """What a model.bin holds.

    Args:
        spec: the kind of model, such as TransformerSpec.
        revision: of the layout of its variables.
        variables: by name; a name that is an alias has the very tensor that it stands for, and the scale of it.
    """

    spec: str
    revision: int
    variables: Mapping[str, Tensor]


def read_model_bin(path: Path) -> CTranslate2File:
    """Read a model.bin.

    Args:
        path: written by a converter of CTranslate2's, version 3 or 4, or by `write_model_bin`.

    Raises:
        UserError: the file is missing, cut off, of another version of the format, or no such file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _Reader(file, path).read()
    except FileNotFoundError:
        raise UserError("no such file", where=path, mend="check the path") from None
    except IsADirectoryError:
        raise UserError("this is a folder, not a file", where=path, mend="name the file inside it") from None
    except PermissionError:
        raise UserError("no permission to read", where=path, mend="change its permissions") from None


def read_npz(path: Path) -> dict[str, Tensor]:
    """The variables of a model that were saved by NumPy, under CTranslate2's names.

    Raises:
        UserError: the file is missing, broken or holds what is no array of numbers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:  # NumPy leaves a broken file open that it opened itself
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise UserError("holds one array, not the variables of a model", where=path, mend="name an .npz file")
            with arrays:
                return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}
    except FileNotFoundError:
        raise UserError("no such file", where=path, mend="check the path") from None
    except PermissionError:
        raise UserError("no permission to read", where=path, mend="change its permissions") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"not a readable .npz file ({error})", where=path, mend=_AGAIN) from error


def write_model_bin(path: Path, variables: Mapping[str, Tensor]) -> None:
    """Write the variables of a Transformer as a model.bin, atomically. Equal tensors are written once.

    Raises:
        UserError: the file cannot be written.
    """
    kept, aliases = _without_doubles(variables)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("=I", VERSION) + _text(SPEC) + struct.pack("=II", REVISION, len(kept)))
        for name, tensor in kept.items():
            values = tensor.detach().cpu().contiguous()
            raw = values.reshape(-1).view(torch.uint8).numpy().tobytes()
            shape = struct.pack(f"=B{values.dim()}I", values.dim(), *values.shape)
            file.write(_text(name) + shape + struct.pack("=BI", _DTYPES.index(values.dtype), len(raw)) + raw)
        file.write(struct.pack("=I", len(aliases)))
        for alias, name in aliases.items():
            file.write(_text(alias) + _text(name))


def full_precision(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every weight as float32: halves widened, and weights of 8 or 16 bits divided by the scales beside them.

    A quantised weight is the rounded product of the weight and its scale: one scale for each row of 8-bit weights, one
    for the whole of 16-bit weights. What rounding lost does not come back.
    """
    full: dict[str, Tensor] = {}
    for name, tensor in variables.items():
        if name.removesuffix(_SCALE) != name and name.removesuffix(_SCALE) in variables:
            continue
        scale = variables.get(name + _SCALE)
        if scale is not None:
            per_row = scale.float().reshape(-1, *[1] * (tensor.dim() - 1)) if scale.dim() else scale.float()
            full[name] = tensor.float() / per_row
        elif tensor.dtype in (torch.float16, torch.bfloat16):
            full[name] = tensor.float()
        else:
            full[name] = tensor
    return full


class _Reader:
    """Takes a model.bin apart from the front. Every read knows how much it wants, so a cut file is told."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.left = path.stat().st_size

    def read(self) -> CTranslate2File:
        version = self.number("I")
        if version not in range(1, 100):  # the file has no other mark
            raise UserError("not a model.bin of CTranslate2's", where=self.path, mend="name a model.bin")
        if version not in (4, 5, VERSION):
            what = f"version {version} of the format is not read"
            raise UserError(what, where=self.path, mend=f"convert the model with a CTranslate2 that writes {VERSION}")
        spec, revision = self.text(), self.number("I")
        variables = dict(self.variable() for _ in range(self.number("I")))
        for _ in range(self.number("I")):
            alias, name = self.text(), self.text()
            if name not in variables:
                raise UserError(f"{alias!r} stands for {name!r}, which is missing", where=self.path, mend=_AGAIN)
            # The scale of a quantised weight goes with it, though no alias names the scale.
            variables |= {alias + end: variables[name + end] for end in ("", _SCALE) if name + end in variables}
        if self.left:
            raise UserError(f"{self.left} bytes are left over", where=self.path, mend=_AGAIN)
        return CTranslate2File(spec, revision, variables)

    def variable(self) -> tuple[str, Tensor]:
        name = self.text()
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, size = self.number("B"), self.number("I")
        if kind >= len(_DTYPES):
            raise UserError(f"{name!r} holds numbers of an unknown kind ({kind})", where=self.path, mend=_AGAIN)
        raw = self.bytes(size)
        count = int(np.prod(shape, dtype=np.int64))
        if count * _DTYPES[kind].itemsize != size:
            raise UserError(f"{name!r} has {size} bytes, but the shape {shape}", where=self.path, mend=_AGAIN)
        if not count:
            return name, torch.empty(shape, dtype=_DTYPES[kind])
        return name, torch.frombuffer(raw, dtype=_DTYPES[kind]).reshape(shape)

    def number(self, kind: str) -> int:
        return struct.unpack(f"={kind}", self.bytes(struct.calcsize(f"={kind}")))[0]

    def text(self) -> str:
        raw = self.bytes(self.number("H"))
        try:
            return raw.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"a name is no text ({error})", where=self.path, mend=_AGAIN) from error

    def bytes(self, size: int) -> bytearray:
        if size > self.left:
            raise UserError("the file is cut off or damaged", where=self.path, mend=_AGAIN)
        self.left -= size
        room = bytearray(size)
        self.file.readinto(room)  # type: ignore[attr-defined]
        return room


def _without_doubles(variables: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The variables in order of their names, and those that equal an earlier one as aliases of it."""
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name in sorted(variables):
        tensor = variables[name]
        first = next((other for other, known in _alike(kept, tensor) if torch.equal(known, tensor)), None)
        if first is None:
            kept[name] = tensor
        else:
            aliases[name] = first
    return kept, aliases


def _alike(kept: Mapping[str, Tensor], tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Those of the same shape and kind. Scalars are attributes of their own and never shared."""
    if tensor.dim():
        for name, known in kept.items():
            if known.shape == tensor.shape and known.dtype == tensor.dtype:
                yield name, known


def _text(text: str) -> bytes:
    raw = text.encode("utf-8") + b"\0"
    return struct.pack("=H", len(raw)) + raw
