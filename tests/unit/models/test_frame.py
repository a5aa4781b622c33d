"""Boxes between the padded input and the picture in it."""

import torch

from sleuth.models.frame import into_input, out_of_input, padded_to, picture_share
from sleuth.types.batches import ImageBatch, Target


def batch() -> ImageBatch:
    """A picture of 6 x 10 pixels and one of 8 x 4."""
    valid = torch.zeros(2, 8, 10, dtype=torch.bool)
    valid[0, :6, :10] = True
    valid[1, :8, :4] = True
    return ImageBatch(pixels=torch.rand(2, 3, 8, 10) * valid[:, None], valid=valid)


def test_padding_goes_to_the_bottom_and_right() -> None:
    images = padded_to(batch(), 16)
    assert images.pixels.shape == (2, 3, 16, 16)
    assert images.pixels[:, :, :8, :10].sum() > 0
    assert not images.valid[:, 8:].any()
    assert not images.valid[:, :, 10:].any()
    assert images.pixels[:, :, 8:].abs().sum() == 0
    assert padded_to(images, 16) is images


def test_shares_are_of_the_padded_sides() -> None:
    share = picture_share(padded_to(batch(), 16).valid)
    torch.testing.assert_close(share, torch.tensor([[10 / 16, 6 / 16] * 2, [4 / 16, 8 / 16] * 2]))


def test_boxes_go_in_and_come_out_again() -> None:
    share = picture_share(batch().valid)
    targets = [Target(labels=torch.tensor([0]), boxes_cxcywh=torch.rand(1, 4)) for _ in range(2)]
    inside = into_input(targets, share)
    # The same pixels: the second picture is 4 wide in an input of 10.
    torch.testing.assert_close(inside[1].boxes_cxcywh[0, 0] * 10, targets[1].boxes_cxcywh[0, 0] * 4)
    back = out_of_input(torch.stack([target.boxes_cxcywh for target in inside])[None], share)
    torch.testing.assert_close(back[0], torch.stack([target.boxes_cxcywh for target in targets]))


def test_nothing_changes_without_padding() -> None:
    share = picture_share(torch.ones(2, 4, 6, dtype=torch.bool))
    boxes = torch.rand(3, 2, 5, 4)
    assert torch.equal(out_of_input(boxes, share), boxes)
