"""COCO's category names by their own ids, as published DETR weights number their classes."""

import re
from collections.abc import Mapping, Sequence

NO_NAME = "N/A"

# What Hugging Face calls a class that nobody named, as in the first configurations of its panoptic DETR.
_PLACEHOLDER = re.compile(r"LABEL_\d+|N/A")

# fmt: off
THINGS: Mapping[int, str] = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird",
    17: "cat", 18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra",
    25: "giraffe", 27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee",
    35: "skis", 36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove",
    41: "skateboard", 42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork",
    49: "knife", 50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli",
    57: "carrot", 58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant",
    65: "bed", 67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}
STUFF: Mapping[int, str] = {
    92: "banner", 93: "blanket", 95: "bridge", 100: "cardboard", 107: "counter", 109: "curtain", 112: "door-stuff",
    118: "floor-wood", 119: "flower", 122: "fruit", 125: "gravel", 128: "house", 130: "light", 133: "mirror-stuff",
    138: "net", 141: "pillow", 144: "platform", 145: "playingfield", 147: "railroad", 148: "river", 149: "road",
    151: "roof", 154: "sand", 155: "sea", 156: "shelf", 159: "snow", 161: "stairs", 166: "tent", 168: "towel",
    171: "wall-brick", 175: "wall-stone", 176: "wall-tile", 177: "wall-wood", 178: "water-other",
    180: "window-blind", 181: "window-other", 184: "tree-merged", 185: "fence-merged", 186: "ceiling-merged",
    187: "sky-other-merged", 188: "cabinet-merged", 189: "table-merged", 190: "floor-other-merged",
    191: "pavement-merged", 192: "mountain-merged", 193: "grass-merged", 194: "dirt-merged", 195: "paper-merged",
    196: "food-other-merged", 197: "building-other-merged", 198: "rock-merged", 199: "wall-other-merged",
    200: "rug-merged",
}
# fmt: on

DETECTION_CLASSES = 91
PANOPTIC_CLASSES = 250
LAST_THING = 90


def coco_names(num_classes: int) -> tuple[str, ...] | None:
    """Names of every class of a model trained on COCO, or None where the count is neither of the two published ones.

    Args:
        num_classes: 91 for detection, 250 for panoptic segmentation. Ids that COCO leaves out are named N/A.

    >>> coco_names(91)[:3]
    ('N/A', 'person', 'bicycle')
    """
    known = {DETECTION_CLASSES: THINGS, PANOPTIC_CLASSES: {**THINGS, **STUFF}}.get(num_classes)
    return None if known is None else tuple(known.get(label, NO_NAME) for label in range(num_classes))


def named_as_coco_panoptic(names: Sequence[str]) -> tuple[str, ...] | None:
    """COCO panoptic's names in place of placeholders such as LABEL_187; None if the classes are not COCO's.

    Args:
        names: of every class, placeholders among them; those that are no placeholders have to be COCO's.
    """
    known = {**THINGS, **STUFF}
    if len(names) != PANOPTIC_CLASSES:
        return None
    if any(name != known.get(label, name) for label, name in enumerate(names) if not _PLACEHOLDER.fullmatch(name)):
        return None
    return tuple(known.get(label, name) for label, name in enumerate(names))


# As some files call them, whose words are older than COCO's.
_OLDER = {"motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch", "pottedplant": "potted plant"}
_OLDER |= {"diningtable": "dining table", "tvmonitor": "tv"}


def named_as_coco_things(names: Sequence[str]) -> Mapping[int, str] | None:
    """COCO's ids and names, if these are its 80 classes in order, perhaps in older words; None if they are not.

    >>> named_as_coco_things(["sofa"]) is None
    True
    """
    return THINGS if [_OLDER.get(name, name) for name in names] == list(THINGS.values()) else None


def coco_is_thing(names: Sequence[str]) -> tuple[bool, ...] | None:
    """Things and stuff of a panoptic model whose classes are COCO's, or None for any other."""
    if len(names) != PANOPTIC_CLASSES or any(names[label] != name for label, name in {**THINGS, **STUFF}.items()):
        return None
    return tuple(label <= LAST_THING for label in range(PANOPTIC_CLASSES))
