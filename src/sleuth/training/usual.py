"""What recipes of vision Transformers take where nobody says otherwise: classifiers and models of pixel classes."""

from collections.abc import Mapping

from sleuth.training.sections import Table


def usual_of_vit(*, batch_size: int, score: str) -> Mapping[str, Table]:
    """What differs from the defaults of detectors, section by section.

    Args:
        batch_size: pictures of a pass.
        score: by which the best weights are chosen.
    """
    optimizer = {"rate": 1e-3, "weight_decay": 0.05, "clip": 1.0, "batch_size": batch_size, "decay_norms": False}
    return {
        "optimizer": optimizer,
        "schedule": {"kind": "cosine"},
        "run": {"score": score, "channels_last": False},
        # Attention gets adapters, and the head, which may be fresh, is trained in full.
        "lora": {"targets": ["qkv"], "full": ["head"]},
    }
