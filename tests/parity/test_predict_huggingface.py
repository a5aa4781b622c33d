"""`sleuth predict --threshold 0 --json -` says what Hugging Face's processor, model and post-processing say."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

sys.path.insert(0, str(Path(__file__).parent))
from huggingface_models import build_peer, resnet, save_peer
from transformers import DetrImageProcessor

from sleuth.cli.main import run
from sleuth.data.pictures import read_picture
from sleuth.runtime.predictor import Predictor
from sleuth.tasks.detection import decode_detections, preprocess_images
from sleuth.weights.resolve import open_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BOXES_WITHIN = 0.01  # pixels
SMALL_INPUT = {"size": {"shortest_edge": 96, "longest_edge": 150}}
# A model of theirs, and how its pictures are prepared.
CASES: dict[str, tuple[dict[str, Any], bool, dict[str, Any]]] = {
    "usual": ({"backbone": "resnet18"}, False, SMALL_INPUT),
    "dilated": ({"backbone": "resnet18", "dilation": True}, False, SMALL_INPUT),
    "learned positions, bicubic": (
        {"backbone": "resnet18", "position_embedding_type": "learned"},
        False,
        SMALL_INPUT | {"resample": 3},
    ),
    "one layer, own resnet, other colours": (
        {
            "backbone_config": resnet("basic", [1, 1, 1, 1], out_features=["stage4"]),
            "encoder_layers": 1,
            "decoder_layers": 1,
        },
        False,
        SMALL_INPUT | {"image_mean": [0.5] * 3, "image_std": [0.3] * 3},
    ),
    "fixed size, not normalised": (
        {"backbone": "resnet18"},
        False,
        {"size": {"height": 96, "width": 128}, "do_normalize": False},
    ),
    "always padded": ({"backbone": "resnet18"}, False, SMALL_INPUT | {"pad_size": {"height": 160, "width": 160}}),
    "masks": (
        {"backbone": "resnet18", "d_model": 64, "encoder_attention_heads": 8, "decoder_attention_heads": 4},
        True,
        SMALL_INPUT,
    ),
}
PICTURES = ("landscape.png", "portrait.png", "square.png", "tiny.png", "grey.png", "turned.jpg", "long.png")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Pictures of every shape and kind: soft blobs of colour on noise."""
    folder = tmp_path_factory.mktemp("pictures")
    dice = np.random.default_rng(5)
    sizes = [(120, 170), (170, 120), (101, 101), (4, 5), (90, 140), (110, 160), (40, 190)]
    for name, (height, width) in zip(PICTURES, sizes, strict=True):
        noise = Image.fromarray(dice.integers(0, 256, (height, width, 3), dtype=np.uint8))
        picture = noise.filter(ImageFilter.GaussianBlur(4)) if height > 9 else noise
        picture = ImageOps.autocontrast(picture)
        exif = Image.Exif()
        if name == "turned.jpg":
            exif[0x0112] = 6
        (picture.convert("L") if name == "grey.png" else picture).save(folder / name, exif=exif)
    return folder


def as_they_open(path: Path) -> Image.Image:
    """What a user of theirs does to a file."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(",", "").replace(" ", "-"))
def case(request, tmp_path_factory) -> tuple[Any, DetrImageProcessor, Path]:
    """Their model and processor, and the folder that they saved."""
    options, masks, processing = CASES[request.param]
    folder = tmp_path_factory.mktemp("theirs")
    model, processor = build_peer(options, masks=masks), DetrImageProcessor(**processing)
    with torch.no_grad():  # louder heads: boxes and classes that differ from query to query
        for name, tensor in model.named_parameters():
            if name.endswith(("bbox_predictor.layers.2.weight", "class_labels_classifier.weight")):
                tensor.mul_(5)
    save_peer(model, folder)
    processor.save_pretrained(folder)
    return model, processor, folder


@torch.no_grad()
def their_answer(model: Any, processor: DetrImageProcessor, pictures: list[Image.Image]) -> list[dict[str, Any]]:
    """Detections of each picture, in the order of the queries."""
    inputs = processor(images=pictures, return_tensors="pt")
    sizes = [(picture.height, picture.width) for picture in pictures]
    outputs = model(pixel_values=inputs["pixel_values"].float(), pixel_mask=inputs["pixel_mask"])
    return processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes)


def best_first(found: dict[str, Any]) -> dict[str, Any]:
    order = found["scores"].argsort(descending=True, stable=True)
    return {name: value[order] for name, value in found.items()}


def assert_worth_comparing(found: dict[str, Any]) -> None:
    """The order of scores is no accident of rounding, and boxes differ."""
    assert (found["scores"][:-1] - found["scores"][1:]).median() > 1e-4
    assert found["boxes"].std(dim=0).max() > 2 * BOXES_WITHIN


def test_predict_says_what_they_say(case, pictures: Path, capsys) -> None:
    model, processor, folder = case
    files = [pictures / name for name in PICTURES]
    words = ["predict", *map(str, files), "--model", str(folder), "--threshold", "0", "--json", "-", "--device", "cpu"]
    assert run(words) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["image"] for answer in answers] == list(map(str, files))
    for file, ours in zip(files, answers, strict=True):
        picture = as_they_open(file)
        assert (ours["width"], ours["height"]) == picture.size
        by_query = their_answer(model, processor, [picture])[0]
        theirs = best_first(by_query)
        assert_worth_comparing(theirs)
        found = ours["detections"]
        # Best first here, by query there: the number of the query tells one order from the other.
        assert [each["query"] for each in found] == by_query["scores"].argsort(descending=True, stable=True).tolist()
        assert len(found) == len(theirs["scores"]) == model.config.num_queries
        assert [each["category_id"] for each in found] == theirs["labels"].tolist()
        assert [each["label"] for each in found] == [
            model.config.id2label[label] for label in theirs["labels"].tolist()
        ]
        scores = torch.tensor([each["score"] for each in found])
        torch.testing.assert_close(scores, theirs["scores"], rtol=0, atol=1e-4)
        boxes = torch.tensor([each["bbox"] for each in found])
        boxes[:, 2:] += boxes[:, :2]
        torch.testing.assert_close(boxes, theirs["boxes"], rtol=0, atol=BOXES_WITHIN)


def test_a_padded_batch_says_what_theirs_says(case, pictures: Path) -> None:
    model, processor, folder = case
    files = [pictures / name for name in PICTURES if name != "tiny.png"]
    theirs = their_answer(model, processor, [as_they_open(file) for file in files])
    loaded = open_model(folder)
    images = [read_picture(file) for file in files]
    with torch.inference_mode():
        prediction = loaded.model(preprocess_images(images, loaded.preprocess))
    ours = decode_detections(prediction, [(image.shape[1], image.shape[2]) for image in images])
    for mine, other in zip(ours, map(best_first, theirs), strict=True):
        assert mine.labels.tolist() == other["labels"].tolist()
        torch.testing.assert_close(mine.scores, other["scores"], rtol=0, atol=1e-4)
        torch.testing.assert_close(mine.boxes_xyxy_px, other["boxes"], rtol=0, atol=BOXES_WITHIN)


def test_a_pictures_answer_does_not_depend_on_the_others(case, pictures: Path) -> None:
    *_, folder = case
    predictor = Predictor(open_model(folder))
    files = [pictures / name for name in PICTURES]
    together = predictor.predict([*files, *files[::-1], files[0]], threshold=0.0, batch_size=3)
    alone = {file: predictor.predict(file, threshold=0.0)[0] for file in files}
    for file, found in zip([*files, *files[::-1], files[0]], together, strict=True):
        torch.testing.assert_close(found.scores, alone[file].scores, rtol=0, atol=1e-4)
        torch.testing.assert_close(found.boxes_xyxy_px, alone[file].boxes_xyxy_px, rtol=0, atol=BOXES_WITHIN)
        assert found.names == alone[file].names
