"""What a reader of one family makes of a folder in Hugging Face's form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.detector import DetectorConfig
from sleuth.weights.keymap import KeyMap


@dataclass(frozen=True)
class FolderWeights:
    """The state dict of a folder.

    Args:
        tensors: under their own keys.
        file: where they came from, for messages.
    """

    tensors: Mapping[str, Tensor]
    file: Path

    def rows(self, *keys: str) -> int:
        """How many rows a head has, by the first of these keys that there is.

        Raises:
            UserError: there is none of them.
        """
        head = next((self.tensors[key] for key in keys if key in self.tensors), None)
        if head is None or head.dim() < 1:
            raise UserError(
                "the weights hold no class head", where=self.file, mend="take a model that was trained to detect"
            )
        return len(head)


@dataclass(frozen=True)
class Reading:
    """What a configuration says.

    Args:
        config: the numbers of the model.
        keys: from the folder's names of weights to ours.
        loss: weights of losses and matching costs, by their names in `DetectionLossConfig`; fine-tuning takes them.
    """

    config: DetectorConfig
    keys: KeyMap
    loss: Mapping[str, Any]


@dataclass(frozen=True)
class Reader:
    """How one kind of model is read.

    Args:
        architectures: the classes of that library that can be read; a file may leave out which of them it is.
        processor: its image processor, where the folder does not say which.
        read: from config.json, its path for messages, and the weights to what they say. Without weights, which may not
            be here yet, the number of classes does not matter. Raises `UserError` for what cannot be honoured.
    """

    architectures: tuple[str, ...]
    processor: str
    read: Callable[[Mapping[str, Any], Path, FolderWeights | None], Reading]
