"""`sleuth convert`."""

from pathlib import Path

from sleuth.cli.console import print_text, tell
from sleuth.errors import UserError
from sleuth.files import atomic_folder
from sleuth.weights.checkpoint import LoadedModel, save_model
from sleuth.weights.classifier import save_classifier
from sleuth.weights.classifiers import is_classifier, open_classifier
from sleuth.weights.origins.ctranslate2_export import export_ctranslate2
from sleuth.weights.origins.huggingface_export import write_folder
from sleuth.weights.origins.marian_huggingface_export import write_marian_folder
from sleuth.weights.origins.original import write_original
from sleuth.weights.origins.vit_folder import write_vit_huggingface, write_vit_timm
from sleuth.weights.resolve import RUN_WEIGHTS, open_model
from sleuth.weights.translator import save_translator
from sleuth.weights.translators import is_translator, open_translator

_FORMS = ("huggingface", "original", "sleuth")
_FOLDER_NAMES = {"original": "checkpoint.pth", "sleuth": RUN_WEIGHTS}
_SUFFIXES = {"original": ".pth", "sleuth": ".safetensors"}


def run_convert(model: str, to: str, out: Path) -> None:
    """Write a model in another form.

    Args:
        model: a name, a file or a folder.
        to: huggingface, original or sleuth.
        out: a new folder, or for the latter two also a file of their kind.

    Raises:
        UserError: no such model or form, a place that is taken or not writable, or the form cannot express the model.
    """
    if is_translator(model):
        _convert_translator(model, to, out)
        return
    if is_classifier(model):
        _convert_classifier(model, to, out)
        return
    if to not in _FORMS:
        raise UserError(f"--to {to} is none of the forms", mend=f"known: {', '.join(_FORMS)}")
    wanted = _SUFFIXES.get(to)
    if out.suffix in (".pth", ".safetensors") and out.suffix != wanted:
        kind = "a folder" if wanted is None else f"a {wanted} file or a folder"
        raise UserError(f"--to {to} writes {kind}, not a {out.suffix} file", where=out, mend="choose another --out")
    loaded = open_model(model)
    if out.suffix == wanted:
        _write(out, to, loaded)
    else:
        with atomic_folder(out) as folder:
            _write(folder / _FOLDER_NAMES[to] if to in _FOLDER_NAMES else folder, to, loaded)
    for remark in _remarks(to, loaded):
        tell(f"note: {remark}")
    print_text(f"{model} in the form of {to}: {out}")


_TRANSLATOR_FORMS = ("ctranslate2", "huggingface", "sleuth")


def _convert_translator(model: str, to: str, out: Path) -> None:
    """Write a translation model in another form."""
    if to not in _TRANSLATOR_FORMS:
        raise UserError(f"--to {to} is no form of a translation model", mend=f"known: {', '.join(_TRANSLATOR_FORMS)}")
    if out.suffix == ".safetensors" and to != "sleuth":
        what = f"--to {to} writes a folder, not a .safetensors file"
        raise UserError(what, where=out, mend="choose another --out")
    loaded = open_translator(model)
    if out.suffix == ".safetensors":
        save_translator(out, loaded.model, loaded.card)
    else:
        with atomic_folder(out) as folder:
            if to == "ctranslate2":
                export_ctranslate2(loaded.model, (loaded.source, loaded.target), folder)
            elif to == "huggingface":
                write_marian_folder(folder, loaded.model, loaded.source, loaded.target, options=loaded.decoding)
            else:
                save_translator(folder / RUN_WEIGHTS, loaded.model, loaded.card)
    print_text(f"{model} in the form of {to}: {out}")


_CLASSIFIER_FORMS = ("huggingface", "timm", "sleuth")


def _convert_classifier(model: str, to: str, out: Path) -> None:
    """Write a classifier in another form."""
    if to not in _CLASSIFIER_FORMS:
        raise UserError(f"--to {to} is no form of a classifier", mend=f"known: {', '.join(_CLASSIFIER_FORMS)}")
    if out.suffix == ".safetensors" and to != "sleuth":
        what = f"--to {to} writes a folder, not a .safetensors file"
        raise UserError(what, where=out, mend="choose another --out")
    loaded = open_classifier(model)
    if out.suffix == ".safetensors":
        save_classifier(out, loaded)
    else:
        with atomic_folder(out) as folder:
            if to == "huggingface":
                write_vit_huggingface(folder, loaded)
            elif to == "timm":
                write_vit_timm(folder, loaded)
            else:
                save_classifier(folder / RUN_WEIGHTS, loaded)
    print_text(f"{model} in the form of {to}: {out}")


def _write(place: Path, to: str, loaded: LoadedModel) -> None:
    if to == "huggingface":
        write_folder(place, loaded)
    elif to == "original":
        write_original(place, loaded)
    else:
        save_model(place, loaded.model, loaded.card)


# Families whose batch norm is trained elsewhere, too, where it is not frozen.
_TRAINED_NORMS = ("rtdetr", "dfine")


def _remarks(to: str, loaded: LoadedModel) -> list[str]:
    """What differs there, though the model's outputs are the same."""
    remarks = []
    config, preprocess = loaded.config, loaded.preprocess
    if to != "sleuth" and loaded.card.architecture not in _TRAINED_NORMS and not getattr(config, "frozen_norm", True):
        remarks.append("its batch norm is frozen there: the same answers, but further training leaves it as it is")
    if to != "sleuth" and getattr(config, "supervise_encoder", False):
        remarks.append("further training there does not supervise the encoder")
    if to == "huggingface" and preprocess.resize == "shortest" and preprocess.rounding == "original":
        remarks.append("where the longer side is the limit, pictures may be resized to a pixel more or less there")
    if to == "original":
        remarks.append(f"the original resizes pictures in its own code; this model wants {_sizes(loaded)}")
    return remarks


def _sizes(loaded: LoadedModel) -> str:
    preprocess = loaded.preprocess
    if preprocess.resize == "shortest":
        return f"a shorter side of {preprocess.shortest} and a longer one of {preprocess.longest} at most"
    return "them as they are" if preprocess.resize == "none" else f"{preprocess.resize} {preprocess.size_hw}"
