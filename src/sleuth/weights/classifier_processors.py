"""How Hugging Face's image processors of ViT, DeiT and DINOv2 and timm's evaluation prepare pictures, both ways."""

import math
from collections.abc import Mapping
from typing import Any

from sleuth.errors import UserError
from sleuth.tasks.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from sleuth.weights.origins.fields import Fields
from sleuth.weights.processor_fields import FILTERS, HARMLESS, colours, filter_number, kinds_by_name, pixel_fields

VIT, DEIT, BIT = "ViTImageProcessor", "DeiTImageProcessor", "BitImageProcessor"

UNLIMITED = 1_000_000_000
"""For the longer side of a picture that is resized by its shorter side alone."""

_HALF = (0.5, 0.5, 0.5)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_USUAL: Mapping[str, Preprocess] = {
    VIT: Preprocess(resize="exact", size_hw=(224, 224), mean=_HALF, std=_HALF, rounding="huggingface"),
    DEIT: Preprocess(resize="exact", size_hw=(256, 256), crop_hw=(224, 224), mean=_HALF, std=_HALF, resample="bicubic"),
    BIT: Preprocess(
        shortest=224, longest=UNLIMITED, crop_hw=(224, 224), mean=_CLIP_MEAN, std=_CLIP_STD, resample="bicubic"
    ),
}
"""What each image processor does where nothing is said."""

_KINDS: Mapping[str, str] = {
    **kinds_by_name(_USUAL),
    "ViTFeatureExtractor": VIT,
    "DeiTFeatureExtractor": DEIT,
}

_READ = frozenset(
    {
        *("do_resize", "size", "resample", "do_center_crop", "crop_size"),
        *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"),
    }
)


def read_classifier_processor(values: Mapping[str, Any], where: object, *, usual: str) -> Preprocess:
    """How one of Hugging Face's image processors of classifiers prepares pictures.

    Args:
        values: the JSON of preprocessor_config.json; what is missing takes that processor's defaults.
        where: the file, for messages.
        usual: which processor it is, where the file does not say.

    Raises:
        UserError: a processor of another model, or a setting that cannot be honoured.
    """
    said = values.get("image_processor_type") or values.get("feature_extractor_type") or usual
    if said not in _KINDS:
        raise UserError(
            f"the preprocessor {said!r} is not one of a ViT", where=where, mend=f"known: {', '.join(_KINDS)}"
        )
    kind = _KINDS[said]
    default = _USUAL[kind]
    fields = Fields(values, where)
    fields.known(_READ, HARMLESS)
    number = fields.whole("resample", filter_number(default.resample))
    if number not in FILTERS:
        raise fields.fault("resample", f"known: {', '.join(f'{n} ({name})' for n, name in FILTERS.items())}")
    try:
        return Preprocess(
            **_sizes(fields, default, square=fields.truth("default_to_square", kind != BIT)),
            crop_hw=_crop(fields, default),
            mean=colours(fields.any("image_mean", default.mean)),
            std=colours(fields.any("image_std", default.std)),
            resample=FILTERS[number],
            rounding="huggingface",
            rescale=fields.number("rescale_factor", 1 / 255) if fields.truth("do_rescale", True) else 1.0,
            normalise=fields.truth("do_normalize", True),
        )
    except (ValueError, TypeError, KeyError) as error:
        what = f"prepares no picture ({type(error).__name__}: {error})"
        raise UserError(what, where=where, mend="take the file that belongs to the model") from error


def _sizes(fields: Fields, default: Preprocess, *, square: bool) -> dict[str, Any]:
    if not fields.truth("do_resize", True):
        return {"resize": "none"}
    size = fields.any("size")
    if size is None:
        return {name: getattr(default, name) for name in ("resize", "size_hw", "shortest", "longest")}
    if isinstance(size, int):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    if isinstance(size, list | tuple):
        size = {"height": size[0], "width": size[1]}
    match {key: value for key, value in dict(size).items() if value is not None}:
        case {"height": height, "width": width, **more} if not more:
            return {"resize": "exact", "size_hw": (int(height), int(width))}
        case {"shortest_edge": shortest, **more} if not more:
            return {"shortest": int(shortest), "longest": UNLIMITED}
        case {"shortest_edge": shortest, "longest_edge": longest, **more} if not more:
            return {"shortest": int(shortest), "longest": int(longest)}
    raise fields.fault("size", "known: height and width, shortest_edge, shortest_edge and longest_edge")


def _crop(fields: Fields, default: Preprocess) -> tuple[int, int] | None:
    if not fields.truth("do_center_crop", default.crop_hw is not None):
        return None
    size = fields.any("crop_size", default.crop_hw or (224, 224))
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[1])
    return int(size["height"]), int(size["width"])


def write_classifier_processor(preprocess: Preprocess) -> dict[str, Any]:
    """The JSON of a preprocessor_config.json that prepares pictures alike.

    Where the rounding is the original's, a crop may lie one pixel further on.

    Raises:
        UserError: no image processor of a classifier there does so.
    """
    if preprocess.resize not in ("exact", "shortest", "none") or preprocess.pad_hw is not None:
        what = f"Hugging Face's image processors do not prepare pictures by resize = {preprocess.resize!r} and padding"
        raise UserError(what, mend="use it with Sleuth")
    size: dict[str, int] = {"shortest_edge": preprocess.shortest}
    if preprocess.resize == "exact" and preprocess.size_hw is not None:
        size = {"height": preprocess.size_hw[0], "width": preprocess.size_hw[1]}
    elif preprocess.longest < UNLIMITED:
        size["longest_edge"] = preprocess.longest
    crop = preprocess.crop_hw
    plain = crop is None and preprocess.resize == "exact"
    return {
        "image_processor_type": VIT if plain else BIT,
        "do_resize": preprocess.resize != "none",
        "size": size,
        **({} if plain else {"do_center_crop": crop is not None}),
        **({} if crop is None else {"crop_size": {"height": crop[0], "width": crop[1]}}),
        **pixel_fields(preprocess),
    }


def read_timm_preprocess(values: Mapping[str, Any], where: object, *, image_hw: tuple[int, int]) -> Preprocess:
    """How timm's evaluation prepares pictures: resized by 1 / crop_pct, and the middle cut out.

    Args:
        values: the ``pretrained_cfg`` of a config.json.
        where: the file, for messages.
        image_hw: size of the model's input, where the fields do not say.

    Raises:
        UserError: a setting that cannot be honoured.
    """
    fields = Fields(values, where, "pretrained_cfg")
    size = fields.wholes("input_size", [3, *image_hw])
    if len(size) != 3 or size[0] != 3:
        raise fields.fault("input_size", "three channels, height and width are wanted")
    height, width = size[1:]
    share, mode = fields.number("crop_pct", 0.875), fields.text("crop_mode", "center")
    if mode not in ("center", "squash"):
        raise fields.fault("crop_mode", "known: center, squash")
    resample = fields.text("interpolation", "bicubic")
    if resample not in FILTERS.values():
        raise fields.fault("interpolation", f"known: {', '.join(FILTERS.values())}")
    if not share > 0:
        raise fields.fault("crop_pct", "a number above 0 is wanted")
    scaled = (math.floor(height / share), math.floor(width / share))
    sizes: dict[str, Any] = {"resize": "cover", "size_hw": scaled}
    if mode == "squash":
        sizes["resize"] = "exact"
    elif scaled[0] == scaled[1]:
        sizes = {"shortest": scaled[0], "longest": UNLIMITED}
    try:
        return Preprocess(
            **sizes,
            crop_hw=(height, width),
            mean=colours(fields.any("mean", IMAGENET_MEAN)),
            std=colours(fields.any("std", IMAGENET_STD)),
            resample=next(name for name in FILTERS.values() if name == resample),
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"prepares no picture ({error})", where=where) from error


def write_timm_preprocess(preprocess: Preprocess, *, image_hw: tuple[int, int]) -> dict[str, Any]:
    """The fields of a ``pretrained_cfg`` that prepare pictures alike.

    Raises:
        UserError: timm's evaluation does not prepare pictures so.
    """
    crop = preprocess.crop_hw
    scaled = preprocess.size_hw
    if preprocess.resize == "shortest" and preprocess.longest >= UNLIMITED and crop is not None and crop[0] == crop[1]:
        scaled = (preprocess.shortest, preprocess.shortest)
    elif preprocess.resize == "exact" and scaled is not None:
        crop = crop or scaled
    elif preprocess.resize != "cover":
        scaled = None
    share = None if scaled is None or crop is None else _crop_share(crop, scaled)
    plain = preprocess.pad_hw is None and preprocess.rescale == 1 / 255 and preprocess.normalise
    if share is None or not plain:
        what = f"timm's evaluation does not prepare pictures by resize = {preprocess.resize!r} to {scaled}, crop {crop}"
        raise UserError(what, mend="use it with Sleuth")
    height, width = crop or image_hw
    return {
        "input_size": [3, height, width],
        "crop_pct": share,
        "crop_mode": "squash" if preprocess.resize == "exact" else "center",
        "interpolation": preprocess.resample,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }


def _crop_share(crop_hw: tuple[int, int], scaled_hw: tuple[int, int]) -> float | None:
    """The crop_pct that makes the one of the other: both sides divided by it, rounded down; None if there is none."""
    pairs = list(zip(crop_hw, scaled_hw, strict=True))
    # A little above the whole number, as a quotient may come out just below it.
    for more in (0.0, 0.25, 0.5):
        for crop, scaled in pairs:
            share = crop / (scaled + more)
            if all(math.floor(c / share) == s for c, s in pairs):
                return share
    return None
