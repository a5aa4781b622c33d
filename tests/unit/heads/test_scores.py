"""Class heads with one score a class."""

import torch

from sleuth.heads.scores import ScoreHead


def test_scores_start_at_the_prior() -> None:
    head = ScoreHead(dim=8, num_classes=5, prior=0.02)
    assert head(torch.zeros(2, 3, 8)).shape == (2, 3, 5)
    torch.testing.assert_close(head(torch.zeros(1, 8)).sigmoid(), torch.full((1, 5), 0.02))
