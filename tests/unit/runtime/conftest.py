"""A small untrained detector."""

import pytest
import torch

from sleuth.models.detr import DetrConfig, build_detr
from sleuth.runtime.predictor import Predictor
from sleuth.tasks.detection import Preprocess
from sleuth.weights.checkpoint import LoadedModel, detr_card

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
    card = detr_card(CONFIG, names=("cat", "dog", "owl"), category_ids=(17, 3, 90), preprocess=preprocess)
    return LoadedModel(model, card)


@pytest.fixture
def detector(loaded: LoadedModel) -> Predictor:
    return Predictor(loaded)
