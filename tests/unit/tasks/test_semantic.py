"""The loss of pixel classes, and looking at a picture in windows, at several sizes and mirrored."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sleuth.errors import UserError
from sleuth.geometry.tiles import Tiling
from sleuth.tasks.preprocess import Preprocess
from sleuth.tasks.semantic import SemanticLoss, SemanticLossConfig, class_weights, label_map, pixel_logits
from sleuth.tasks.semantic_views import Views, class_scores
from sleuth.types.batches import ImageBatch, SemanticBatch
from sleuth.types.memory import PatchMemory
from sleuth.types.predictions import SemanticPrediction

SEEN = Preprocess(shortest=64, longest=1000, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def predicted(logits: torch.Tensor, patch_size: int = 4) -> SemanticPrediction:
    empty = torch.zeros(len(logits), 0, 1)
    return SemanticPrediction(logits, patch_size, PatchMemory(empty, empty, None, (0, 0)))


class ByColour(nn.Module):
    """Takes a pixel's red, green and blue for the logits of three classes, in patches of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.asked: list[tuple[int, ...]] = []

    def forward(self, images: ImageBatch) -> SemanticPrediction:
        self.asked.append(tuple(images.pixels.shape))
        return predicted(images.pixels * self.scale, 1)


def picture(height: int, width: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 4, 5, generator=draw)
    return (F.interpolate(coarse, (height, width), mode="bilinear")[0] * 255).to(torch.uint8)


def test_the_loss_is_cross_entropy_over_labelled_pixels():
    logits = torch.randn(2, 3, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.randint(0, 3, (2, 7, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels[0, :3] = 255
    batch = SemanticBatch(ImageBatch(torch.zeros(2, 3, 7, 12), torch.ones(2, 7, 12).bool()), labels, ("a", "b"))
    weights = (1.0, 2.0, 0.5)
    report = SemanticLoss(SemanticLossConfig(), weights)(predicted(logits), batch)
    upsampled = F.interpolate(logits, scale_factor=4.0, mode="bilinear")[:, :, :7, :12]
    expected = F.cross_entropy(upsampled, labels.long(), torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(report.total, expected)
    report.total.backward()
    assert bool(logits.grad.isfinite().all())


def test_a_batch_without_any_class_costs_nothing():
    labels = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    batch = SemanticBatch(ImageBatch(torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4).bool()), labels, ("a",))
    report = SemanticLoss(SemanticLossConfig(), (1.0, 1.0))(predicted(torch.zeros(1, 2, 1, 1)), batch)
    assert float(report.total) == 0.0


def test_rare_classes_weigh_more():
    assert class_weights("none", (0.5, 0.1)) == (1.0, 1.0)
    assert class_weights("median", (0.4, 0.1, 0.2, 0.0)) == (0.5, 2.0, 1.0, 1.0)
    assert class_weights("root", (0.4, 0.1, 0.1)) == (0.5, 1.0, 1.0)
    assert class_weights("median", (0.0, 0.0)) == (1.0, 1.0)


def test_the_map_is_the_argmax_of_resized_scores():
    scores = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(label_map(scores, (6, 7)), scores.argmax(0).to(torch.uint8))
    larger = F.interpolate(scores[None], (20, 31), mode="bilinear")[0].argmax(0)
    assert torch.equal(label_map(scores, (20, 31)), larger.to(torch.uint8))


@pytest.mark.parametrize("views", [Views(), Views(Tiling((64, 96))), Views(Tiling((200, 200), 0.5))])
def test_one_window_is_the_whole(views: Views):
    model, image = ByColour().eval(), picture(128, 192)
    scores = class_scores(model, image, SEEN, views)
    assert scores.shape == (3, 64, 96)
    assert model.asked == [(1, 3, 64, 96)]
    torch.testing.assert_close(scores, class_scores(model, image, SEEN), rtol=0, atol=0)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(("window", "overlap"), [((32, 40), 0.0), ((48, 33), 0.5)])
def test_windows_of_a_model_that_sees_single_pixels_change_nothing(
    batch_size: int, window: tuple[int, int], overlap: float
):
    model, image = ByColour().eval(), picture(64, 100)
    whole = class_scores(model, image, SEEN)
    model.asked.clear()
    found = class_scores(model, image, SEEN, Views(Tiling(window, overlap), batch_size=batch_size))
    torch.testing.assert_close(found, whole)
    assert all(shape[2:] == window and shape[0] <= batch_size for shape in model.asked)
    assert len(model.asked) > 1 or batch_size == 100


def test_where_windows_overlap_their_logits_are_averaged():
    class ByPlace(ByColour):
        """The logit of the first class grows from left to right of what is looked at."""

        def forward(self, images: ImageBatch) -> SemanticPrediction:
            batch, _, height, width = images.pixels.shape
            ramp = torch.arange(width, dtype=torch.float32).expand(batch, 1, height, width)
            return predicted(torch.cat((ramp, torch.zeros_like(ramp)), dim=1) * 0.1, 1)

    found = class_scores(ByPlace().eval(), picture(64, 96), SEEN, Views(Tiling((64, 64), 0.5)))
    place = torch.arange(96)
    left, right = torch.where(place < 64, place, 0), torch.where(place >= 32, place - 32, 0)
    times = (place < 64).int() + (place >= 32).int()
    expected = torch.sigmoid((left + right) / times * 0.1)
    torch.testing.assert_close(found[0, 0], expected)


def test_sizes_and_mirrored_pictures_are_averaged():
    model, image = ByColour().eval(), picture(64, 96)
    whole = class_scores(model, image, SEEN)
    model.asked.clear()
    found = class_scores(model, image, SEEN, Views(scales=(0.5, 1.0, 2.0), flip=True))
    assert model.asked == [(1, 3, 32, 48)] * 2 + [(1, 3, 64, 96)] * 2 + [(1, 3, 128, 192)] * 2
    assert float((found - whole).abs().max()) < 0.2
    torch.testing.assert_close(found.sum(0), torch.ones(64, 96))
    # A model that sees single pixels sees the same in the mirror.
    torch.testing.assert_close(class_scores(model, image, SEEN, Views(flip=True)), whole)


@pytest.mark.parametrize("wrong", [{"scales": ()}, {"scales": (0.0,)}, {"scales": (1.0, 9.0)}, {"batch_size": 0}])
def test_views_out_of_range_are_one_line(wrong: dict):
    with pytest.raises(UserError, match=r"size|windows"):
        Views(**wrong)


def test_logits_beyond_the_picture_are_cut_off():
    logits = torch.randn(1, 2, 3, 4)
    assert pixel_logits(predicted(logits), (10, 13)).shape == (1, 2, 10, 13)
    torch.testing.assert_close(pixel_logits(predicted(logits, 1), (3, 4)), logits)
