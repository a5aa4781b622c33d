"""Reading other people's .pth and .bin files without running what is in them.

A pickle is a program. PyTorch's restricted reader knows tensors and plain containers alone; the original's checkpoints
need one class more, the harmless `argparse.Namespace`. A file that needs anything else is refused.
"""

import pickle
import re
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sleuth.errors import UserError

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_AGAIN = "copy or download it again, or take a .safetensors file of the model"
_MEND = "take a .safetensors file of the model, or ask its author for its plain state dict"


@dataclass(frozen=True)
class PickledWeights:
    """What a checkpoint of PyTorch's holds.

    Args:
        tensors: the state dict, under its own keys.
        args: options of the run that wrote it, where they are in the file.
    """

    tensors: dict[str, Tensor]
    args: Mapping[str, Any] = field(default_factory=dict)


def read_pickle(path: Path) -> PickledWeights:
    """The state dict in a file that `torch.save` wrote; nothing in the file is run.

    The state dict is the whole file, as in pytorch_model.bin, or lies under ``model`` or ``state_dict``, as in the
    checkpoints of originals. Where there is a running average of the weights, under ``ema`` and there ``module``, it
    goes before.

    Args:
        path: a .pth, .pt, .ckpt or .bin file.

    Raises:
        UserError: the file is missing, cut off, no such file, or needs more than tensors and plain values.
    """
    path = Path(path)
    content = _load(path)
    if not isinstance(content, Mapping):
        raise UserError(f"holds a {type(content).__name__}, not a state dict", where=path, mend=_MEND)
    averaged = content["ema"].get("module") if isinstance(content.get("ema"), Mapping) else None
    places = (averaged, content.get("model"), content.get("state_dict"))
    nested = next((place for place in places if isinstance(place, Mapping)), None)
    tensors = _tensors(content if nested is None else nested, path)
    return PickledWeights(tensors, {} if nested is None else _options(content.get("args")))


def _load(path: Path) -> Any:
    if path.is_file() and not path.stat().st_size:
        raise UserError("the file is empty", where=path, mend="copy or download it again")
    try:
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how long unusual tensors take to check
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError("no such file", where=path, mend="check the path") from None
    except IsADirectoryError:
        raise UserError("this is a folder, not a file", where=path, mend="name the file inside it") from None
    except PermissionError:
        raise UserError("no permission to read", where=path, mend="change its permissions") from None
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(str(error), path) from None
    except Exception as error:
        # A broken pickle breaks in any way: wrong keys, opcodes, offsets. None of them is this program's fault.
        raise _broken(error, path) from None


def _refused(message: str, path: Path) -> UserError:
    needed = _GLOBAL.search(message)
    if needed is None:
        return UserError("not a checkpoint of PyTorch's, or a broken one", where=path, mend=_AGAIN)
    return UserError(
        f"not read: it would run code ({needed[1]}), and only tensors and plain values are read", where=path, mend=_MEND
    )


def _broken(error: Exception, path: Path) -> UserError:
    message = str(error)
    if "TorchScript" in message:
        return UserError("this is a TorchScript program, not weights", where=path, mend=_MEND)
    if "legacy .tar" in message:
        what = "not read: the tar form of very old PyTorch cannot be read without running code"
        return UserError(what, where=path, mend=_MEND)
    if "central directory" in message:
        return UserError("the file is cut off or damaged", where=path, mend="copy or download it again")
    return UserError("not a checkpoint of PyTorch's, or a broken one", where=path, mend=_AGAIN)


def _tensors(found: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    if not found:
        raise UserError("the state dict is empty", where=path, mend=_MEND)
    for key, value in found.items():
        if not isinstance(key, str):
            raise UserError(f"the key {key!r} is no text, so this is no state dict", where=path, mend=_MEND)
        if not isinstance(value, Tensor):
            what = f"{key!r} holds a {type(value).__name__}, not a tensor, so this is no state dict"
            raise UserError(what, where=path, mend=_MEND)
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise UserError(f"{key!r} is not a plain, dense tensor", where=path, mend=_MEND)
    return {key: value.detach() for key, value in found.items()}


def _options(args: Any) -> Mapping[str, Any]:
    if isinstance(args, Namespace):
        return dict(vars(args))
    return dict(args) if isinstance(args, Mapping) else {}
