"""Which split of somebody's data is trained on, and which is measured on."""

from collections.abc import Sequence

from sleuth.training.sections import Table


def splits(splits: tuple[str, ...]) -> Table:
    """Which split to train on and which to measure on; one split alone is trained on and nothing is measured."""
    if len(splits) == 1:
        return {"train": splits[0], "val": ""}
    bare = {split.lower().rstrip("0123456789"): split for split in reversed(splits)}
    train = next((bare[word] for word in ("train", "training") if word in bare), splits[0])
    val = next((bare[word] for word in ("val", "valid", "validation", "dev", "test", "testing") if word in bare), "")
    return {"train": train, "val": "" if val == train else val}


def usual_split(known: Sequence[str]) -> str:
    """The split to measure on where nobody says which: val, or test, or the first.

    >>> usual_split(("train", "test")), usual_split(("train", "validation", "test")), usual_split(("all",))
    ('test', 'validation', 'all')
    """
    wanted = [name for word in ("val", "dev", "test") for name in known if name.lower().startswith(word)]
    return wanted[0] if wanted else known[0]
