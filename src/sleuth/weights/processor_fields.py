"""What Hugging Face's image processors have in common in preprocessor_config.json, whatever the model is for."""

from collections.abc import Iterable, Mapping
from typing import Any

from sleuth.tasks.preprocess import Preprocess, Resample

FILTERS: Mapping[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""PIL's numbers for the filters."""

HARMLESS = frozenset(
    {
        *("image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys", "backend"),
        *("data_format", "input_data_format", "return_tensors", "device", "disable_grouping", "model_input_names"),
        *("do_convert_rgb", "default_to_square", "transformers_version", "image_seq_length"),
    }
)
"""Fields that do not change a picture's pixels."""


def kinds_by_name(kinds: Iterable[str]) -> dict[str, str]:
    """Each of these processors by the names that it goes by: plain, of torchvision or of PIL.

    >>> kinds_by_name(["ViTImageProcessor"])["ViTImageProcessorFast"]
    'ViTImageProcessor'
    """
    return {f"{kind}{ending}": kind for kind in kinds for ending in ("", "Fast", "Pil")}


def filter_number(resample: Resample) -> int:
    """PIL's number for a filter.

    >>> filter_number("bilinear")
    2
    """
    return next(number for number, name in FILTERS.items() if name == resample)


def colours(value: Any) -> tuple[float, float, float]:
    """A number for each colour; one alone is for all three.

    Raises:
        ValueError: it is neither one number nor three.
    """
    red, green, blue = (value,) * 3 if isinstance(value, int | float) else value
    return float(red), float(green), float(blue)


def pixel_fields(preprocess: Preprocess) -> dict[str, Any]:
    """The fields that say how pixels become numbers, once a picture has its size."""
    return {
        "resample": filter_number(preprocess.resample),
        "do_rescale": preprocess.rescale != 1,
        "rescale_factor": preprocess.rescale,
        "do_normalize": preprocess.normalise,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
