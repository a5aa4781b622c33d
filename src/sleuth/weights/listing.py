"""What can be loaded by name, for people: one literal table, from which `sleuth models` and docs/models/ are made.

Nothing here imports PyTorch. What the names build is in `catalog`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Task = Literal["detection", "panoptic segmentation", "translation", "classification", "semantic segmentation"]
Kind = Literal["bundled", "hub", "architecture"]

_ORIGINAL = "facebookresearch/detr, served by the Hugging Face hub"
_DEFORMABLE = "fundamentalvision/Deformable-DETR, served by the Hugging Face hub"
_DFINE = "Peterande/D-FINE, served by the Hugging Face hub"
_RTDETR = "lyuwenyu/RT-DETR, served by the Hugging Face hub"
_HERE = "this project"
_APACHE = "Apache-2.0"
_OPUS = "Helsinki-NLP/OPUS-MT-train, served by the Hugging Face hub"
_COCO = "COCO val2017, published"
_SCENES = "500 held-out scenes of the test split, measured here"


@dataclass(frozen=True)
class Listed:
    """A model that has a name.

    Args:
        about: one line.
        kind: bundled (its weights come with Sleuth), hub (they are downloaded), or architecture (no weights).
        task: what it answers.
        parameters: how many numbers training may change; the constants of frozen batch norm are not counted. Of an
            encoder-decoder Transformer, with 8,000 words on either side; of a ViT, with ImageNet's 1,000 classes, of a
            DINOv2 with none, and of vit-cifar with 10; of a Segmenter, with 150 classes.
        architecture: the name in `CATALOG`, `SEQ2SEQ_VARIANTS`, `VIT_VARIANTS` or `SEGMENTER_VARIANTS` that builds it
            or one of its size.
        scores: published (in percent) or measured (0 to 1), by the metric's name.
        measured_on: what the scores were measured on, and by whom.
        licence: of the weights.
        origin: who trained it, and where its files come from.
    """

    about: str
    kind: Kind
    task: Task
    parameters: int
    architecture: str
    scores: Mapping[str, float] = field(default_factory=dict)
    measured_on: str = ""
    licence: str = _APACHE
    origin: str = _HERE

    @property
    def score(self) -> str:
        """The scores in one line; empty for an architecture."""
        return ", ".join(f"{metric} {value:.{1 if value > 1 else 3}f}" for metric, value in self.scores.items())


def _published(
    about: str, architecture: str, parameters: int, scores: Mapping[str, float], origin: str = _ORIGINAL
) -> Listed:
    task: Task = "panoptic segmentation" if "PQ" in scores else "detection"
    return Listed(about, "hub", task, parameters, architecture, scores, _COCO, origin=origin)


def _dfine(size: str, parameters: int, score: float, *, more: bool = False) -> Listed:
    """A published D-FINE, trained on COCO alone or on Objects365 before."""
    about = f"D-FINE-{size.upper()}" + (", trained on Objects365 first" if more else "")
    return _published(about, f"dfine-{size}", parameters, {"box AP": score}, _DFINE)


def _opus(languages: str, vocabulary: int, score: float, licence: str = _APACHE) -> Listed:
    """A published Marian model: six layers of the base size on both sides, one vocabulary, one table."""
    about = f"OPUS-MT, {languages}; Marian, of the base size with SiLU and {vocabulary:,} words"
    parameters = 44_138_496 + 513 * vocabulary  # a vector and a bias for each word
    return Listed(
        about,
        "hub",
        "translation",
        parameters,
        "transformer-base",
        {"BLEU": score},
        "Tatoeba, published",
        licence,
        _OPUS,
    )


def _sizes(about: str, name: str, parameters: int) -> Listed:
    """A size of the encoder-decoder Transformer, without weights."""
    return Listed(f"{about}, with 8,000 words on either side", "architecture", "translation", parameters, name)


def _vit(about: str, name: str, parameters: int) -> Listed:
    """A size of the vision Transformer, without weights."""
    return Listed(about, "architecture", "classification", parameters, name)


def _segmenter(about: str, name: str, parameters: int) -> Listed:
    """A size of Segmenter, without weights."""
    return Listed(f"{about}, with a mask Transformer", "architecture", "semantic segmentation", parameters, name)


LISTED: Mapping[str, Listed] = {
    "sleuth-scenes": Listed(
        "sleuth-n, trained on the built-in scenes; its weights come with Sleuth",
        "bundled",
        "detection",
        4_569_196,
        "sleuth-scenes",
        {"AP": 0.909, "AP50": 0.983},
        _SCENES,
    ),
    "detr-scenes": Listed(
        "detr-small, trained on the built-in scenes; its weights come with Sleuth",
        "bundled",
        "detection",
        4_076_052,
        "detr-scenes",
        {"AP": 0.728, "AP50": 0.926},
        _SCENES,
    ),
    "detr-scenes-panoptic": Listed(
        "things, stuff and their masks on the built-in scenes; its weights come with Sleuth",
        "bundled",
        "panoptic segmentation",
        4_378_712,
        "detr-scenes-panoptic",
        {"PQ": 0.677, "mask AP": 0.597},
        "200 held-out scenes of the test split, measured here",
    ),
    "facebook/detr-resnet-50": _published(
        "DETR with ResNet-50, the paper's baseline", "detr-r50", 41_524_768, {"box AP": 42.0}
    ),
    "facebook/detr-resnet-101": _published("DETR with ResNet-101", "detr-r101", 60_464_672, {"box AP": 43.5}),
    "facebook/detr-resnet-50-dc5": _published(
        "DETR with ResNet-50 and a dilated last stage", "detr-r50-dc5", 41_524_768, {"box AP": 43.3}
    ),
    "facebook/detr-resnet-101-dc5": _published(
        "DETR with ResNet-101 and a dilated last stage", "detr-r101-dc5", 60_464_672, {"box AP": 44.9}
    ),
    "facebook/detr-resnet-50-panoptic": _published(
        "DETR with ResNet-50 and a mask head", "detr-r50", 42_899_288, {"PQ": 43.4, "box AP": 38.8}
    ),
    "facebook/detr-resnet-50-dc5-panoptic": _published(
        "DETR with ResNet-50, a dilated last stage and a mask head",
        "detr-r50-dc5",
        42_899_288,
        {"PQ": 44.6, "box AP": 40.2},
    ),
    "facebook/detr-resnet-101-panoptic": _published(
        "DETR with ResNet-101 and a mask head", "detr-r101", 61_839_192, {"PQ": 45.1, "box AP": 40.1}
    ),
    "PekingU/rtdetr_r18vd": _published("RT-DETR with ResNet-18-D", "rtdetr-r18", 20_184_464, {"box AP": 46.5}, _RTDETR),
    "PekingU/rtdetr_r34vd": _published("RT-DETR with ResNet-34-D", "rtdetr-r34", 31_441_668, {"box AP": 48.9}, _RTDETR),
    "PekingU/rtdetr_r50vd": _published("RT-DETR with ResNet-50-D", "rtdetr-r50", 42_891_372, {"box AP": 53.1}, _RTDETR),
    "PekingU/rtdetr_r101vd": _published(
        "RT-DETR with ResNet-101-D", "rtdetr-r101", 76_556_268, {"box AP": 54.3}, _RTDETR
    ),
    "PekingU/rtdetr_v2_r18vd": _published(
        "RT-DETRv2 with ResNet-18-D", "rtdetrv2-r18", 20_184_464, {"box AP": 48.1}, _RTDETR
    ),
    "PekingU/rtdetr_v2_r34vd": _published(
        "RT-DETRv2 with ResNet-34-D", "rtdetrv2-r34", 31_441_668, {"box AP": 49.9}, _RTDETR
    ),
    "PekingU/rtdetr_v2_r50vd": _published(
        "RT-DETRv2 with ResNet-50-D", "rtdetrv2-r50", 42_891_372, {"box AP": 53.4}, _RTDETR
    ),
    "PekingU/rtdetr_v2_r101vd": _published(
        "RT-DETRv2 with ResNet-101-D", "rtdetrv2-r101", 76_556_268, {"box AP": 54.3}, _RTDETR
    ),
    "sleuth-n": Listed(
        "the smallest of Sleuth's own detectors, for small data and machines without a GPU",
        "architecture",
        "detection",
        4_602_736,
        "sleuth-n",
    ),
    "sleuth-s": Listed("Sleuth's own detector for a GPU", "architecture", "detection", 10_885_632, "sleuth-s"),
    "sleuth-m": Listed(
        "Sleuth's own detector for a GPU and 500 pictures or more", "architecture", "detection", 31_222_788, "sleuth-m"
    ),
    "sleuth-l": Listed(
        "the largest of Sleuth's own detectors, for tens of thousands of pictures",
        "architecture",
        "detection",
        42_725_740,
        "sleuth-l",
    ),
    "detr-r18": Listed("DETR with ResNet-18", "architecture", "detection", 28_843_552, "detr-r18"),
    "detr-r34": Listed("DETR with ResNet-34", "architecture", "detection", 38_944_288, "detr-r34"),
    "detr-r50": Listed(
        "DETR with ResNet-50, the paper's baseline", "architecture", "detection", 41_524_768, "detr-r50"
    ),
    "detr-r50-dc5": Listed(
        "DETR with ResNet-50 and a dilated last stage", "architecture", "detection", 41_524_768, "detr-r50-dc5"
    ),
    "detr-r101": Listed("DETR with ResNet-101", "architecture", "detection", 60_464_672, "detr-r101"),
    "detr-r101-dc5": Listed(
        "DETR with ResNet-101 and a dilated last stage", "architecture", "detection", 60_464_672, "detr-r101-dc5"
    ),
    **{
        f"detr-vit-{size}": Listed(
            f"DETR with {name} in patches of 16 pixels as its backbone",
            "architecture",
            "detection",
            parameters,
            f"detr-vit-{size}",
        )
        for size, name, parameters in (
            ("ti", "ViT-Ti", 23_119_136),
            ("s", "ViT-S", 39_309_536),
            ("b", "ViT-B", 103_540_832),
        )
    },
    "detr-small": Listed(
        "a small DETR that learns from scratch on one machine", "architecture", "detection", 4_076_052, "detr-small"
    ),
    "dense-small": Listed(
        "FCOS of the size of detr-small: no queries and no decoder, overlapping boxes suppressed afterwards",
        "architecture",
        "detection",
        4_300_504,
        "dense-small",
    ),
    "dense-r18": Listed("FCOS with ResNet-18", "architecture", "detection", 19_268_122, "dense-r18"),
    "dense-r50": Listed("FCOS with ResNet-50, the paper's", "architecture", "detection", 32_244_250, "dense-r50"),
    "dense-vit-s": Listed(
        "FCOS on the one map of a ViT-S in patches of 16 pixels", "architecture", "detection", 26_685_398, "dense-vit-s"
    ),
    "SenseTime/deformable-detr": _published(
        "Deformable DETR with ResNet-50", "deformable-detr-r50", 40_069_665, {"box AP": 44.5}, _DEFORMABLE
    ),
    "SenseTime/deformable-detr-with-box-refine": _published(
        "Deformable DETR whose layers refine boxes",
        "deformable-detr-r50-refined",
        40_849_660,
        {"box AP": 46.2},
        _DEFORMABLE,
    ),
    "SenseTime/deformable-detr-with-box-refine-two-stage": _published(
        "two-stage Deformable DETR", "deformable-detr-r50-two-stage", 41_181_529, {"box AP": 46.9}, _DEFORMABLE
    ),
    "deformable-detr-r50": Listed(
        "Deformable DETR with ResNet-50", "architecture", "detection", 40_069_665, "deformable-detr-r50"
    ),
    "deformable-detr-r50-refined": Listed(
        "Deformable DETR whose layers refine boxes",
        "architecture",
        "detection",
        40_849_660,
        "deformable-detr-r50-refined",
    ),
    "deformable-detr-r50-two-stage": Listed(
        "two-stage Deformable DETR", "architecture", "detection", 41_181_529, "deformable-detr-r50-two-stage"
    ),
    "dino-r50": Listed("DINO with ResNet-50 and 4 scales", "architecture", "detection", 46_893_182, "dino-r50"),
    "dino-r50-5scale": Listed(
        "DINO with ResNet-50 and 5 scales", "architecture", "detection", 47_255_806, "dino-r50-5scale"
    ),
    "ustc-community/dfine-nano-coco": _dfine("n", 3_782_691, 42.8),
    "ustc-community/dfine-small-coco": _dfine("s", 10_321_875, 48.5),
    "ustc-community/dfine-medium-coco": _dfine("m", 19_590_062, 52.3),
    "ustc-community/dfine-large-coco": _dfine("l", 31_244_150, 54.0),
    "ustc-community/dfine-xlarge-coco": _dfine("x", 62_621_558, 55.8),
    "ustc-community/dfine-small-obj2coco": _dfine("s", 10_321_875, 50.7, more=True),
    "ustc-community/dfine-medium-obj2coco": _dfine("m", 19_590_062, 55.1, more=True),
    "ustc-community/dfine-large-obj2coco-e25": _dfine("l", 31_244_150, 57.3, more=True),
    "ustc-community/dfine-xlarge-obj2coco": _dfine("x", 62_621_558, 59.3, more=True),
    "dfine-n": Listed("the smallest D-FINE, on two levels", "architecture", "detection", 3_782_691, "dfine-n"),
    "dfine-s": Listed("D-FINE with HGNetV2-B0", "architecture", "detection", 10_321_875, "dfine-s"),
    "dfine-m": Listed("D-FINE with HGNetV2-B2", "architecture", "detection", 19_590_062, "dfine-m"),
    "dfine-l": Listed("D-FINE with HGNetV2-B4", "architecture", "detection", 31_244_150, "dfine-l"),
    "dfine-x": Listed("the largest D-FINE, with HGNetV2-B5", "architecture", "detection", 62_621_558, "dfine-x"),
    "rtdetr-r18": Listed("RT-DETR with ResNet-18-D", "architecture", "detection", 20_184_464, "rtdetr-r18"),
    "rtdetr-r34": Listed("RT-DETR with ResNet-34-D", "architecture", "detection", 31_441_668, "rtdetr-r34"),
    "rtdetr-r50-m": Listed(
        "RT-DETR with ResNet-50-D and a narrow encoder, of whose six decoder layers three run",
        "architecture",
        "detection",
        36_593_772,
        "rtdetr-r50-m",
    ),
    "rtdetr-r50": Listed("RT-DETR with ResNet-50-D", "architecture", "detection", 42_891_372, "rtdetr-r50"),
    "rtdetr-r101": Listed("RT-DETR with ResNet-101-D", "architecture", "detection", 76_556_268, "rtdetr-r101"),
    "rtdetrv2-r18": Listed("RT-DETRv2 with ResNet-18-D", "architecture", "detection", 20_184_464, "rtdetrv2-r18"),
    "rtdetrv2-r34": Listed("RT-DETRv2 with ResNet-34-D", "architecture", "detection", 31_441_668, "rtdetrv2-r34"),
    "rtdetrv2-r50-m": Listed(
        "RT-DETRv2 with ResNet-50-D and a narrow encoder, of whose six decoder layers three run",
        "architecture",
        "detection",
        36_593_772,
        "rtdetrv2-r50-m",
    ),
    "rtdetrv2-r50": Listed("RT-DETRv2 with ResNet-50-D", "architecture", "detection", 42_891_372, "rtdetrv2-r50"),
    "rtdetrv2-r101": Listed("RT-DETRv2 with ResNet-101-D", "architecture", "detection", 76_556_268, "rtdetrv2-r101"),
    "numbers": Listed(
        "digits to English words and to Chinese numerals, and back; its weights come with Sleuth",
        "bundled",
        "translation",
        675_328,
        "transformer-tiny",
        {"exact match": 0.9994},
        "5,000 unseen numbers of the test split, measured here",
    ),
    "Helsinki-NLP/opus-mt-en-de": _opus("English to German", 58_101, 47.3, "CC-BY-4.0"),
    "Helsinki-NLP/opus-mt-de-en": _opus("German to English", 58_101, 55.4),
    "Helsinki-NLP/opus-mt-en-fr": _opus("English to French", 59_514, 50.5),
    "Helsinki-NLP/opus-mt-zh-en": _opus("Chinese to English", 65_001, 36.1, "CC-BY-4.0"),
    "transformer-big": _sizes("the paper's big encoder-decoder Transformer", "transformer-big", 192_741_376),
    "transformer-base": _sizes("the paper's base encoder-decoder Transformer", "transformer-base", 52_330_496),
    "transformer-small": _sizes("4 and 4 layers of 256, for some 100,000 pairs", "transformer-small", 11_468_800),
    "transformer-tiny": _sizes("3 and 3 layers of 128, for transliteration and such", "transformer-tiny", 3_436_544),
    "vit-digits": Listed(
        "a small ViT for scikit-learn's handwritten digits; its weights come with Sleuth",
        "bundled",
        "classification",
        136_650,
        "vit-digits",
        {"top-1": 0.989},
        "the 355 digits of the held-out fifth, measured here",
    ),
    "vit-ti16": _vit("ViT, tiny, patches of 16 pixels", "vit-ti16", 5_717_416),
    "vit-s16": _vit("ViT, small, patches of 16 pixels", "vit-s16", 22_050_664),
    "vit-s32": _vit("ViT, small, patches of 32 pixels", "vit-s32", 22_878_952),
    "vit-b16": _vit("ViT, base, patches of 16 pixels", "vit-b16", 86_567_656),
    "vit-b32": _vit("ViT, base, patches of 32 pixels", "vit-b32", 88_224_232),
    "vit-l16": _vit("ViT, large, patches of 16 pixels", "vit-l16", 304_326_632),
    "vit-l32": _vit("ViT, large, patches of 32 pixels", "vit-l32", 306_535_400),
    "vit-h14": _vit("ViT, huge, patches of 14 pixels", "vit-h14", 632_045_800),
    "deit-ti16": _vit("DeiT, tiny, patches of 16 pixels", "deit-ti16", 5_717_416),
    "deit-s16": _vit("DeiT, small, patches of 16 pixels", "deit-s16", 22_050_664),
    "deit-b16": _vit("DeiT, base, patches of 16 pixels", "deit-b16", 86_567_656),
    "deit-ti16-distilled": _vit(
        "DeiT, tiny, patches of 16 pixels, with a distillation token", "deit-ti16-distilled", 5_910_800
    ),
    "deit-s16-distilled": _vit(
        "DeiT, small, patches of 16 pixels, with a distillation token", "deit-s16-distilled", 22_436_432
    ),
    "deit-b16-distilled": _vit(
        "DeiT, base, patches of 16 pixels, with a distillation token", "deit-b16-distilled", 87_338_192
    ),
    "dinov2-s14": _vit("DINOv2, small, patches of 14 pixels", "dinov2-s14", 22_056_192),
    "dinov2-b14": _vit("DINOv2, base, patches of 14 pixels", "dinov2-b14", 86_579_712),
    "dinov2-l14": _vit("DINOv2, large, patches of 14 pixels", "dinov2-l14", 304_367_616),
    "dinov2-g14": _vit("DINOv2, giant, patches of 14 pixels", "dinov2-g14", 1_136_479_232),
    "dinov2-s14-reg4": _vit("DINOv2, small, patches of 14 pixels, with four registers", "dinov2-s14-reg4", 22_057_728),
    "dinov2-b14-reg4": _vit("DINOv2, base, patches of 14 pixels, with four registers", "dinov2-b14-reg4", 86_582_784),
    "dinov2-l14-reg4": _vit("DINOv2, large, patches of 14 pixels, with four registers", "dinov2-l14-reg4", 304_371_712),
    "dinov2-g14-reg4": _vit(
        "DINOv2, giant, patches of 14 pixels, with four registers", "dinov2-g14-reg4", 1_136_485_376
    ),
    "vit-cifar": _vit(
        "a compact ViT with a stem of convolutions, for small pictures from scratch", "vit-cifar", 2_082_058
    ),
    "segmenter-ti16": _segmenter("a Segmenter on ViT, tiny, patches of 16 pixels", "segmenter-ti16", 6_713_388),
    "segmenter-s16": _segmenter("a Segmenter on ViT, small, patches of 16 pixels", "segmenter-s16", 26_033_964),
    "segmenter-b16": _segmenter("a Segmenter on ViT, base, patches of 16 pixels", "segmenter-b16", 102_497_580),
    "segmenter-l16": _segmenter("a Segmenter on ViT, large, patches of 16 pixels", "segmenter-l16", 332_644_652),
    "segmenter-street": _segmenter(
        "a compact Segmenter for some hundred pictures from scratch", "segmenter-street", 2_825_340
    ),
}


def published_as(architecture: str) -> str | None:
    """The model of the hub that holds published detection weights of an architecture; None where there is none."""
    for name, listed in LISTED.items():
        if (listed.kind, listed.task, listed.architecture) == ("hub", "detection", architecture):
            return name
    return None
