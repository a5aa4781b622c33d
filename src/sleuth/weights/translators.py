"""Finding a translation model by its name: bundled, of a file or folder on this machine, or of the Hugging Face hub."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from sleuth.errors import UserError
from sleuth.weights.architectures import task_of_file
from sleuth.weights.hub import CONFIG, is_hub_name, snapshot
from sleuth.weights.origins.marian_huggingface import MARIAN_FILES, open_marian_folder, read_marian_config
from sleuth.weights.translator import LoadedTranslator, load_translator, translator_card

_SUFFIX = ".safetensors"
_RUN_WEIGHTS = "best.safetensors"
_CTRANSLATE2 = "model.bin"

BUNDLED: Mapping[str, Path] = {"numbers": Path(__file__).parent / "bundled" / "numbers.safetensors"}
"""Translation models that come with the program, by name."""


def open_translator(name_or_path: str | Path) -> LoadedTranslator:
    """A translation model with its vocabularies, ready to translate.

    Args:
        name_or_path: a bundled model's name; a ``.safetensors`` file that `sleuth train` wrote, or its run folder; a
            folder of a Marian model in Hugging Face's form; or a model of the hub, such as
            ``Helsinki-NLP/opus-mt-en-de``, which is downloaded once.

    Raises:
        UserError: there is no such model, it cannot be had, it does not translate, or its files are broken.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if isinstance(name_or_path, str) and name in BUNDLED:
        if not BUNDLED[name].is_file():
            what = f"the bundled weights of {name!r} are missing"
            raise UserError(what, where=BUNDLED[name], mend="install Sleuth again")
        return load_translator(BUNDLED[name])
    if path.is_dir():
        return _of_folder(path)
    if path.exists():
        return load_translator(path)
    if is_hub_name(name) and path.suffix != _SUFFIX:
        return _of_folder(snapshot(name, check_config=read_marian_config, beside=MARIAN_FILES))
    near = get_close_matches(name, BUNDLED, n=1, cutoff=0.6)
    mend = f"did you mean {near[0]!r}?" if near else f"name a {_SUFFIX} file, a run folder, or {', '.join(BUNDLED)}"
    raise UserError(f"there is no translation model {name!r}", mend=mend)


def is_translator(name_or_path: str) -> bool:
    """Whether a name means a translation model, as far as that can be seen without loading it."""
    path = Path(name_or_path)
    if name_or_path in BUNDLED or name_or_path.startswith("Helsinki-NLP/"):
        return True
    if path.is_dir():
        path = path / (_RUN_WEIGHTS if (path / _RUN_WEIGHTS).is_file() else CONFIG)
    if path.suffix == ".json" and path.is_file():
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(values, dict) and values.get("model_type") == "marian"
    return path.suffix == _SUFFIX and path.is_file() and task_of_file(path) == "translation"


def _of_folder(path: Path) -> LoadedTranslator:
    if (path / _RUN_WEIGHTS).is_file():
        return load_translator(path / _RUN_WEIGHTS)
    if (path / _CTRANSLATE2).is_file():
        what = "a CTranslate2 folder does not say how text is cut into tokens"
        raise UserError(what, where=path, mend="name the model that it was converted from")
    if (path / CONFIG).is_file():
        found = open_marian_folder(path)
        card = translator_card(found.model.config, source=found.source, target=found.target, decoding=found.options)
        return LoadedTranslator(found.model, found.source, found.target, card)
    raise UserError(f"this folder holds neither {_RUN_WEIGHTS} nor {CONFIG}", where=path, mend=f"name a {_SUFFIX} file")
