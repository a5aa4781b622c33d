"""`sleuth train`: a recipe from a file or from a folder of pictures, and everything wired together."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from sleuth.cli.console import tell
from sleuth.cli.drawing import find, found_cell, write_picture
from sleuth.cli.recipe_words import tables_for_data, with_words
from sleuth.cli.train_classification import tables_for_classes, train_classification, wants_classification
from sleuth.cli.train_run import run_and_tell, run_folder
from sleuth.cli.train_semantic import tables_for_masks, train_semantic, wants_semantic
from sleuth.cli.train_translation import tables_for_text, train_translation, wants_translation
from sleuth.cli.train_words import TrainWords, refuse
from sleuth.data.classes.digits import DIGITS
from sleuth.data.held_out import HELD_OUT_PART
from sleuth.data.samples import SampleSource
from sleuth.errors import UserError
from sleuth.evaluation.detection import evaluate_model
from sleuth.geometry.tiles import Tiling
from sleuth.training.detection_work import DetectionWork
from sleuth.training.devices import is_main_process
from sleuth.training.kinds import Kind, kind_of
from sleuth.training.recipe import Recipe, recipe_from_tables
from sleuth.training.sections import Table, read_toml
from sleuth.training.sources import BUILT_IN_DATA, check_source, open_source
from sleuth.training.translation_recipe import NUMBERS
from sleuth.training.trial import estimated_minutes, in_words, measure_pace

SAMPLE_PICTURES = 9
BUILT_IN = (BUILT_IN_DATA, NUMBERS, DIGITS)

WORTH_A_TRIAL = 50
"""Steps of a training below which nobody asks how long it takes."""

_TRAIN: Mapping[Kind, Callable[..., int]] = {
    "translation": train_translation,
    "classification": train_classification,
    "semantic segmentation": train_semantic,
}
_WANTED = (
    (wants_translation, tables_for_text),
    (wants_semantic, tables_for_masks),
    (wants_classification, tables_for_classes),
)
"""Which words want tables of another kind than a detector's, and what makes them; the first that does is asked."""


def run_train(recipe_file: Path | None, words: TrainWords, out: Path | None, *, resume: bool) -> int:
    """Train, and say where the results are; 0, or 130 if it was stopped before its end."""
    tables, name, where, remarks = read_tables(recipe_file, words, out, resume=resume)
    kind, folder = kind_of(tables), run_folder(out, name)
    if kind != "detection":
        return _TRAIN[kind](tables, words, folder, where=where, resume=resume, remarks=remarks or ())
    recipe = detection_recipe(tables, words, where, chosen=remarks is not None)
    tiling = _tiling(recipe)
    work = DetectionWork(recipe)
    source = work.source
    held_out = open_source(recipe, recipe.data.val, like=source) if recipe.data.val else None
    if is_main_process():
        if recipe.data.val == HELD_OUT_PART and remarks is not None:
            whole = "--set data.train='' --set data.val='' learns from all"
            tell(f"the data is in one split: a fifth of it is held out to measure on; {whole}")
        # Training checks its own pictures; those that it is measured on are as important.
        for note in () if held_out is None else check_source(recipe, held_out)[1]:
            tell(f"{recipe.data.val}: {note}")
        for remark in remarks or ():
            tell(remark)
        if remarks and not resume:
            _say_how_long(recipe, source, held_out)
    tile = "" if tiling is None else f" --tile {'x'.join(map(str, tiling.size_hw))} --tile-overlap {tiling.overlap:g}"
    return run_and_tell(
        work,
        folder,
        evaluate=None if held_out is None else evaluator(recipe, held_out),
        render=sampler(recipe, held_out or source),
        resume=resume,
        measure=f"evaluate --model {folder.best} --data {recipe.data.path} --split {recipe.data.val}"
        + (tile or " --layers"),
        use=f"predict PICTURE --model {folder.best}{tile}",
    )


def read_tables(
    recipe_file: Path | None, words: TrainWords, out: Path | None, *, resume: bool
) -> tuple[Table, str, object, tuple[str, ...] | None]:
    """The tables of a file, of a run to resume, or of the words alone, before the words have changed them.

    Returns:
        The tables, a name for the run, where they are from, and what was chosen, in lines: None where a file says it.

    Raises:
        UserError: nothing says what to train on, or a key or value is wrong.
    """
    if resume and out is None:
        raise UserError("which run to continue is not said", where="--resume", mend="name its folder with --out")
    if recipe_file is None and resume and out is not None and words.data is None:
        recipe_file = out / "recipe.toml"
        if not recipe_file.is_file():
            raise UserError("there is no run to resume", where=out, mend="start it without --resume")
    if recipe_file is not None:
        return read_toml(recipe_file), recipe_file.stem, recipe_file, None
    if words.data is None:
        raise UserError("what to train on is not said", mend="give a recipe (such as recipes/*.toml) or --data DIR")
    remarks: list[str] = []
    name = words.data if words.data in BUILT_IN else Path(words.data).resolve().stem
    of_kind = next((make for wanted, make in _WANTED if wanted(words)), None)
    tables = tables_for_data(words, remarks.append) if of_kind is None else of_kind(words, remarks.append)
    return tables, name, "the command line", tuple(remarks)


def detection_recipe(tables: Table, words: TrainWords, where: object, *, chosen: bool) -> Recipe:
    """A detector's recipe from its tables and the words.

    Args:
        tables: from :func:`read_tables`.
        words: of the command line.
        where: the tables are from.
        chosen: the tables were made from the words, rather than read from a file.

    Raises:
        UserError: a wrong key or value, or a word that pictures have no use for.
    """
    refuse(words, ("languages",), "is of text, and pictures are trained on here")
    return recipe_from_tables(with_words(tables, settled(words) if chosen else words), where=where)


def settled(words: TrainWords) -> TrainWords:
    """The words without those that the tables for somebody's pictures have followed already."""
    said = ("model", "weights", "scale", "epochs", "steps", "minutes")
    return TrainWords(**vars(words) | dict.fromkeys(said) | {"scratch": False})


def evaluator(recipe: Recipe, source: SampleSource) -> Callable[[nn.Module], dict[str, float]]:
    """Measures a model on these pictures."""
    # Panoptic quality is measured where there is stuff, or where the best weights are chosen by it.
    panoptic = True if recipe.run.score.split()[:1] in (["PQ"], ["SQ"], ["RQ"]) else None

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        found = evaluate_model(
            model,
            source,
            recipe.preprocess,
            device=device,
            batch_size=8,
            panoptic=panoptic,
            panoptic_rule=recipe.panoptic,
            tiling=_tiling(recipe),
        )
        return found.numbers

    return evaluate


def sampler(recipe: Recipe, source: SampleSource) -> Callable[[nn.Module, Path, int], None]:
    """Draws what a model finds in the first few of these pictures."""

    def draw(model: nn.Module, folder: Path, step: int) -> None:
        samples = [source.load(index) for index in range(min(SAMPLE_PICTURES, len(source)))]
        found = find(model, samples, recipe.preprocess, threshold=0.5, tiling=_tiling(recipe))
        cells = [found_cell(sample, each, source.names) for sample, each in zip(samples, found, strict=True)]
        write_picture(folder / f"step-{step:06d}.png", cells, heading=f"step {step}: found with a score of 0.5 and up")

    return draw


def _tiling(recipe: Recipe) -> Tiling | None:
    """How pictures are seen when a model is measured: in tiles, if it learns on some and finds boxes."""
    return recipe.data.tiling if recipe.data.annotations == "boxes" else None


def _say_how_long(recipe: Recipe, source: SampleSource, held_out: SampleSource | None) -> None:
    """How long it will take, if it is worth a trial."""
    run, batch = recipe.run, recipe.optimizer.batch_size
    steps = run.steps or run.epochs * max(1, len(source) // max(1, batch))
    if run.minutes or steps < WORTH_A_TRIAL or recipe.augmentation.fit is None or not batch:
        return
    pace = measure_pace(recipe, tuple(source.names), objects=max(1, recipe.model.config.num_queries // 10))
    held = 0 if held_out is None else len(held_out)
    minutes = estimated_minutes(pace, recipe, pictures=len(source), held_out=held)
    tell(f"about {in_words(minutes)} on this machine; another length by --epochs, --steps or --minutes")
