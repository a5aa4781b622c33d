"""Small untrained detectors, of boxes and of masks."""

from dataclasses import replace

import pytest
import torch

from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.runtime.predictor import Predictor
from sleuth.tasks.detection import Preprocess
from sleuth.types.batches import ImageBatch
from sleuth.weights.checkpoint import LoadedModel, detector_card

CONFIG = DetrConfig(
    backbone="resnet10",
    backbone_width=8,
    backbone_stages=3,
    num_classes=3,
    dim=16,
    num_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    feedforward_dim=32,
    num_queries=8,
)


@pytest.fixture(scope="session")
def loaded() -> LoadedModel:
    torch.manual_seed(3)
    model = build_detr(CONFIG).eval()
    # Fresh weights answer all alike: louder ones give every query its own answer.
    torch.nn.init.normal_(model.class_head.weight, std=1.0)
    preprocess = Preprocess(shortest=32, longest=64)
    card = detector_card(CONFIG, names=("cat", "dog", "owl"), category_ids=(17, 3, 90), preprocess=preprocess)
    return LoadedModel(model, card)


@pytest.fixture
def detector(loaded: LoadedModel) -> Predictor:
    return Predictor(loaded)


PANOPTIC = replace(CONFIG, backbone_stages=4, dim=32, num_classes=4, masks=True)


@torch.no_grad()
def _vary(model: Detr) -> None:
    """Fresh weights answer all alike: give every query its own class and its own mask."""
    model.queries.weight.mul_(4)
    for layer in model.decoder.layers:
        layer.cross_attention.q_proj.weight.mul_(4)
        layer.self_attention.q_proj.weight.mul_(4)
        layer.self_attention.v_proj.weight.mul_(4)
    model.mask_head.attention.q_proj.weight.mul_(8)
    model.mask_head.convs[0].weight[:, 32:].mul_(40)
    model.mask_head.out.bias.fill_(0.3)
    torch.nn.init.normal_(model.class_head.weight, std=1.0)
    pixels = torch.randn(8, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    images = ImageBatch(pixels, torch.ones(8, 64, 64, dtype=torch.bool))
    model.class_head.bias.copy_(-model(images).logits[-1].mean((0, 1)))


@pytest.fixture(scope="session")
def loaded_panoptic() -> LoadedModel:
    """A model with a mask head that knows two things and two kinds of stuff."""
    torch.manual_seed(3)
    model = build_detr(PANOPTIC).eval()
    _vary(model)
    card = detector_card(
        PANOPTIC,
        names=("cat", "dog", "sky", "grass"),
        category_ids=(17, 3, 187, 193),
        preprocess=Preprocess(shortest=32, longest=64),
        is_thing=(True, True, False, False),
    )
    return LoadedModel(model, card)


@pytest.fixture
def panoptic_detector(loaded_panoptic: LoadedModel) -> Predictor:
    return Predictor(loaded_panoptic)
