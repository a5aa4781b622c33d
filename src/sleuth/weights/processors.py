"""Hugging Face's preprocessor_config.json as a `Preprocess`, and back."""

from collections.abc import Mapping
from typing import Any

from sleuth.errors import UserError
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.hub import PROCESSOR as CONFIG_NAME
from sleuth.weights.processor_fields import FILTERS, HARMLESS, colours, kinds_by_name, pixel_fields

__all__ = ["CONFIG_NAME", "read_processor", "write_processor"]

_DETR, _DEFORMABLE, _RTDETR = "DetrImageProcessor", "DeformableDetrImageProcessor", "RTDetrImageProcessor"

_USUAL: Mapping[str, Preprocess] = {
    _DETR: Preprocess(rounding="huggingface"),
    _DEFORMABLE: Preprocess(rounding="huggingface"),
    _RTDETR: Preprocess(rounding="huggingface", resize="exact", size_hw=(640, 640), normalise=False),
}
"""What each image processor does where nothing is said."""

_KINDS: Mapping[str, str] = {
    **kinds_by_name(_USUAL),
    "DetrFeatureExtractor": _DETR,
    "DeformableDetrFeatureExtractor": _DEFORMABLE,
}
"""The names that each of them goes by."""

_OTHER_FILTERS = {4: "box", 5: "hamming"}

# What detectors leave unused, too.
_HARMLESS = HARMLESS | {
    *("crop_size", "do_center_crop", "do_convert_annotations", "format"),
    *("pad_and_return_pixel_mask", "return_segmentation_masks"),
}
_READ = frozenset(
    {
        *("do_resize", "size", "max_size", "resample", "do_pad", "pad_size"),
        *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
    }
)


def read_processor(values: Mapping[str, Any], where: object = CONFIG_NAME, *, usual: str = _DETR) -> Preprocess:
    """How one of Hugging Face's image processors of detectors prepares pictures.

    Args:
        values: the JSON of preprocessor_config.json; what is missing takes that processor's defaults.
        where: the file, for messages.
        usual: which processor it is, where the file does not say.

    Raises:
        UserError: a processor of another model, or a setting that cannot be honoured.
    """
    said = values.get("image_processor_type") or values.get("feature_extractor_type") or usual
    if said not in _KINDS:
        raise UserError(f"the preprocessor {said!r} is not one of DETR's", where=where, mend=_known(_KINDS))
    default = _USUAL[_KINDS[said]]
    if unknown := sorted(values.keys() - _HARMLESS - _READ):
        raise UserError(f"the setting {unknown[0]!r} is unknown, so its effect is too", where=where, mend="remove it")
    number = _value(values, "resample", 2)
    if number not in FILTERS:
        name = _OTHER_FILTERS.get(number, number)
        raise UserError(f"the resampling {name!r} is not supported", where=where, mend=_known(FILTERS.values()))
    pad = values.get("pad_size") if _value(values, "do_pad", values.get("pad_and_return_pixel_mask", True)) else None
    try:
        return Preprocess(
            **_sizes(values, where, default),
            mean=colours(_value(values, "image_mean", default.mean)),
            std=colours(_value(values, "image_std", default.std)),
            rounding="huggingface",
            resample=FILTERS[number],
            rescale=float(_value(values, "rescale_factor", 1 / 255)) if _value(values, "do_rescale", True) else 1.0,
            normalise=bool(_value(values, "do_normalize", default.normalise)),
            pad_hw=None if not pad else (int(pad["height"]), int(pad["width"])),
        )
    except (ValueError, TypeError, KeyError) as error:
        what = f"prepares no picture ({type(error).__name__}: {error})"
        raise UserError(what, where=where, mend="take the file that belongs to the model") from error


def write_processor(preprocess: Preprocess, *, kind: str = _DETR) -> dict[str, Any]:
    """The JSON of a preprocessor_config.json that prepares pictures alike.

    Where ``longest`` binds and the rounding is the original's, sizes may differ by a pixel or so.

    Args:
        preprocess: how pictures become input.
        kind: the image processor that goes with the model.
    """
    sizes: dict[str, Any] = {"shortest_edge": preprocess.shortest, "longest_edge": preprocess.longest}
    if preprocess.size_hw is not None and preprocess.resize == "exact":
        sizes = {"height": preprocess.size_hw[0], "width": preprocess.size_hw[1]}
    elif preprocess.size_hw is not None and preprocess.resize == "within":
        sizes = {"max_height": preprocess.size_hw[0], "max_width": preprocess.size_hw[1]}
    pad = None if preprocess.pad_hw is None else {"height": preprocess.pad_hw[0], "width": preprocess.pad_hw[1]}
    return {
        "image_processor_type": kind,
        "format": "coco_detection",
        "do_resize": preprocess.resize != "none",
        "size": sizes,
        **pixel_fields(preprocess),
        "do_pad": True,
    } | ({} if pad is None else {"pad_size": pad})


def _sizes(values: Mapping[str, Any], where: object, default: Preprocess) -> dict[str, Any]:
    """The fields of a `Preprocess` that say how large pictures become."""
    if not _value(values, "do_resize", True):
        return {"resize": "none"}
    size = values.get("size")
    if size is None:
        return {"resize": default.resize, "size_hw": default.size_hw}
    if isinstance(size, int):
        longest = values.get("max_size", Preprocess.longest)
        size = {"shortest_edge": size, "longest_edge": longest}
    if isinstance(size, list | tuple):
        size = {"height": size[0], "width": size[1]}
    match {key: value for key, value in dict(size).items() if value is not None}:
        case {"shortest_edge": shortest, "longest_edge": longest, **more} if not more:
            return {"shortest": int(shortest), "longest": int(longest)}
        case {"height": height, "width": width, **more} if not more:
            return {"resize": "exact", "size_hw": (int(height), int(width))}
        case {"max_height": height, "max_width": width, **more} if not more:
            return {"resize": "within", "size_hw": (int(height), int(width))}
    mend = "known: shortest_edge and longest_edge, height and width, max_height and max_width"
    raise UserError(f"the size {dict(size)} is not supported", where=where, mend=mend)


def _value(values: Mapping[str, Any], key: str, default: Any) -> Any:
    """A setting; null stands for the default."""
    value = values.get(key)
    return default if value is None else value


def _known(names: Any) -> str:
    return f"known: {', '.join(names)}"
