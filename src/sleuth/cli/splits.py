"""Which split of somebody's data is trained on, and which is measured on."""

from collections.abc import Sequence
from pathlib import Path

from sleuth.cli.train_words import TrainWords, section
from sleuth.data.held_out import HELD_OUT_PART, REST_PART, held_out_count
from sleuth.data.open import available_splits, open_data
from sleuth.training.run_folder import RunFolder
from sleuth.training.sections import Table, read_toml


def splits(splits: tuple[str, ...]) -> Table:
    """Which split to train on and which to measure on; one split alone is trained on and nothing is measured."""
    if len(splits) == 1:
        return {"train": splits[0], "val": ""}
    bare = {split.lower().rstrip("0123456789"): split for split in reversed(splits)}
    train = next((bare[word] for word in ("train", "training") if word in bare), splits[0])
    val = next((bare[word] for word in ("val", "valid", "validation", "dev", "test", "testing") if word in bare), "")
    return {"train": train, "val": "" if val == train else val}


def detection_splits(words: TrainWords, path: str, annotations: str = "boxes") -> Table:
    """The same of data for detectors, in which a fifth is held out where it is in one split and large enough.

    Raises:
        UserError: there is no such data.
    """
    known = available_splits(path, words.format, annotations)
    if len(known) > 1 or not held_out_count(open_data(path, words.format, known[0], words.images, annotations).records):
        return splits(known)
    return {"train": REST_PART, "val": HELD_OUT_PART}


def has_learned_the_rest(model: str | None, data: Path) -> bool:
    """Whether a model of a run folder has learned from this data but for the fifth that is held out."""
    if model is None:
        return False
    run = RunFolder(Path(model) if Path(model).is_dir() else Path(model).parent)
    if not run.recipe.is_file():
        return False
    learned = section(read_toml(run.recipe), "data")
    path = run.started_in / str(learned.get("path"))
    return learned.get("train") == REST_PART and path.resolve() == data.resolve()


def usual_split(known: Sequence[str]) -> str:
    """The split to measure on where nobody says which: val, or test, or the first.

    >>> usual_split(("train", "test")), usual_split(("train", "validation", "test")), usual_split(("all",))
    ('test', 'validation', 'all')
    """
    wanted = [name for word in ("val", "dev", "test") for name in known if name.lower().startswith(word)]
    return wanted[0] if wanted else known[0]
