"""What can be wrong with a data set: a closed table of kinds, each with its weight and its mend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    Args:
        severity: an error stops training; a warning is worked around and said; a note is worth knowing.
        title: what the kind is called in a report.
        mend: what the user can do about it.
    """

    severity: Severity
    title: str
    mend: str


FAULT_KINDS: Mapping[str, FaultKind] = {
    "missing-picture": FaultKind(
        "error", "missing pictures", "add the file, correct its name, or name the folder with --images"
    ),
    "unreadable-picture": FaultKind("error", "unreadable pictures", "replace the file or remove it with its entry"),
    "wrong-size": FaultKind("error", "pictures of another size than annotated", "correct the size, or annotate anew"),
    "unreadable-annotation": FaultKind("error", "unreadable annotations", "correct the file or remove it"),
    "missing-annotation": FaultKind("error", "pictures without annotation file", "add the file or shorten the list"),
    "unknown-category": FaultKind("error", "annotations without category", "add the category or correct its id"),
    "duplicate-picture-id": FaultKind("error", "picture ids used twice", "give each picture an id of its own"),
    "missing-masks": FaultKind("error", "missing panoptic PNG files", "add the file or correct its name"),
    "missing-mask": FaultKind("error", "pictures without mask", "add the mask, or leave the picture out"),
    "unknown-value": FaultKind(
        "error",
        "masks with values of no class",
        "add the class to the list; of what means nothing, say so: --set data.ignore=[11], and --ignore 11 elsewhere",
    ),
    "mask-size": FaultKind("error", "masks of another size than the picture", "make masks of the picture's size"),
    "unreadable-mask": FaultKind("error", "unreadable masks", "write the mask again or remove the annotation"),
    "unlisted-segment": FaultKind(
        "error", "segments in the PNG that the JSON lacks", "list every segment in segments_info; void is black"
    ),
    "no-isthing": FaultKind(
        "error",
        "categories without isthing (taken as things)",
        'give each category "isthing": 1 for things, 0 for stuff',
    ),
    "box-among-outlines": FaultKind(
        "error", "boxes among outlines", "give every object an outline, or ask for boxes instead of instances"
    ),
    "undecodable-line": FaultKind("error", "lines that are no UTF-8", "save the file as UTF-8, or leave the line out"),
    "unreadable-pair": FaultKind("error", "lines without source and target", "correct the line or remove it"),
    "uneven-files": FaultKind("error", "files of different lengths", "give both files the same lines, one for one"),
    "spare-mask": FaultKind("warning", "masks without picture", "add the picture or remove the mask"),
    "no-labels": FaultKind("warning", "masks in which no pixel has a class", "remove the picture, if not meant so"),
    "unknown-picture": FaultKind("warning", "annotations without picture", "add the picture or remove the annotation"),
    "no-box": FaultKind("warning", "annotations without box (left out)", "give a box of four numbers"),
    "non-finite-box": FaultKind("warning", "boxes that are not finite (left out)", "correct the numbers"),
    "inverted-box": FaultKind("warning", "inverted boxes (left out)", "put the smaller corner first"),
    "empty-box": FaultKind("warning", "boxes without area (left out)", "remove or redraw the box"),
    "box-outside": FaultKind(
        "warning", "boxes outside the picture (left out)", "correct the box or the picture's size"
    ),
    "box-over-edge": FaultKind("warning", "boxes over the edge (clipped)", "clip the box to the picture"),
    "no-mask": FaultKind("warning", "annotations without mask (left out)", "give polygons or run lengths"),
    "few-points": FaultKind("warning", "polygons of fewer than three points (left out)", "remove or redraw them"),
    "polygon-outside": FaultKind(
        "warning", "polygons outside the picture (left out)", "correct the polygon or the picture's size"
    ),
    "empty-mask": FaultKind("warning", "masks without a pixel (left out)", "remove or redraw the annotation"),
    "duplicate-annotation-id": FaultKind("warning", "annotation ids used twice (renumbered)", "number them anew"),
    "duplicate-name": FaultKind("warning", "pictures listed twice", "keep one entry per picture"),
    "duplicate-box": FaultKind("warning", "the same box twice", "remove one of the two"),
    "duplicate-category": FaultKind("warning", "category names used twice", "merge the two or rename one"),
    "shared-picture": FaultKind("warning", "pictures in two splits", "keep each picture in one split"),
    "empty-line": FaultKind("warning", "pairs with an empty side (left out)", "remove the pair"),
    "overlong-line": FaultKind("warning", "overlong lines", "part them into sentences, or remove the pair"),
    "misaligned-line": FaultKind(
        "warning", "pairs of unlike length, perhaps misaligned", "see whether the two sides are the same sentence"
    ),
    "shared-pair": FaultKind("warning", "pairs in two splits", "keep each pair in one split"),
    "duplicate-pair": FaultKind("note", "pairs that occur twice", "nothing, if meant so"),
    "no-label-file": FaultKind(
        "note", "pictures without label file (taken as without objects)", "nothing, if meant so"
    ),
    "unlisted-picture": FaultKind("note", "pictures that no annotation names", "nothing, if meant so"),
    "no-objects": FaultKind("note", "pictures without objects", "nothing, if meant so: they teach what is no object"),
    "crowd": FaultKind("note", "crowds (ignored in training and scoring)", "nothing, if meant so"),
    "category-gap": FaultKind("note", "category ids with gaps", "nothing: labels are made contiguous, ids are kept"),
    "renumbered": FaultKind("note", "ids that are not whole numbers (renumbered)", "nothing, if meant so"),
    "unused-category": FaultKind("note", "classes without objects", "nothing, if meant so"),
    "no-size": FaultKind("note", "annotations without picture size (read from the picture)", "nothing"),
}


@dataclass(frozen=True)
class Fault:
    """One fault found in a data set.

    Args:
        kind: key of `FAULT_KINDS`.
        file: the file at fault.
        what: what is wrong with it, in a few words.
        id: id of the annotation, picture or category at fault, where it has one.
        image_id: the picture to leave out in order to be rid of the fault, where there is one.
    """

    kind: str
    file: str
    what: str
    id: int | str | None = None
    image_id: int | None = None

    @property
    def severity(self) -> Severity:
        """How heavy faults of this kind weigh."""
        return FAULT_KINDS[self.kind].severity

    @property
    def mend(self) -> str:
        """What the user can do about it."""
        return FAULT_KINDS[self.kind].mend

    def line(self) -> str:
        """The fault as one line: file, id, and what is wrong."""
        place = self.file if self.id is None else f"{self.file}, id {self.id}"
        return f"{place}: {self.what}"
