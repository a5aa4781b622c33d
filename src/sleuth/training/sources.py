"""The pictures that a recipe names, checked before they are trained on."""

from dataclasses import replace
from pathlib import Path

from sleuth.data.checks import check_data
from sleuth.data.faults import FAULT_KINDS
from sleuth.data.open import open_data
from sleuth.data.records import DetectionData
from sleuth.data.report import DataReport
from sleuth.data.samples import SampleSource
from sleuth.data.scenes import SceneSource
from sleuth.data.scenes.glyphs import SPLITS
from sleuth.data.source import PictureSource
from sleuth.data.tiled import TiledSource
from sleuth.errors import UserError
from sleuth.training.recipe import Recipe
from sleuth.training.sections import check_keys

BUILT_IN_DATA = "scenes"


def open_source(recipe: Recipe, split: str, *, like: SampleSource | None = None) -> SampleSource:
    """The pictures of a split: ``train``, ``val``, or any other that the data has.

    Args:
        recipe: its ``[data]`` says where they are.
        split: which of them.
        like: give them the classes of this source, in its order.

    Raises:
        UserError: there are none, or they hold classes that ``like`` lacks.
    """
    settings = recipe.data
    if settings.path == BUILT_IN_DATA:
        check_keys([split], SPLITS, what="split of the scenes", where="data")
        return SceneSource(
            split=split,  # type: ignore[arg-type]
            count=_limit(recipe, split),
            config=recipe.scenes,
            annotations=settings.annotations,
        )
    data = open_split(recipe, split)
    if settings.skip_faulty:
        data = data.without_faulty(check_data(data))
    if like is not None:
        data = data.with_names(like.names, like.category_ids)
    return PictureSource(data)


def training_source(recipe: Recipe) -> SampleSource:
    """The pictures to train on; with ``data.tile``, their tiles as well.

    Raises:
        UserError: as for `open_source`, or scenes are to be cut into tiles.
    """
    source, tiling = open_source(recipe, recipe.data.train), recipe.data.tiling
    if tiling is None:
        return source
    if not isinstance(source, PictureSource):
        raise UserError("the scenes are small, and not cut into tiles", where="data.tile", mend="leave it out")
    return TiledSource(source, tiling)


def open_split(recipe: Recipe, split: str) -> DetectionData:
    """The annotations of a split of pictures in files.

    Raises:
        UserError: there are none.
    """
    settings = recipe.data
    data = open_data(
        Path(settings.path),
        settings.format or None,
        split or None,
        settings.images or None,
        annotations=settings.annotations,
    )
    return replace(data, records=data.records[: _limit(recipe, split)])


def check_source(recipe: Recipe, source: SampleSource) -> tuple[DataReport | None, list[str]]:
    """Check pictures as `sleuth data check` does, by their headers, before any training.

    Returns:
        The report, or None for scenes, which have no faults; and what is worth saying in lines.

    Raises:
        UserError: an error that training cannot go on with, the first of them named.
    """
    whole = source.source if isinstance(source, TiledSource) else source
    queries = recipe.model.config.num_queries
    if isinstance(whole, SceneSource):
        return None, _too_many(whole.most_objects, queries, "a scene")
    if not isinstance(whole, PictureSource):
        return None, []
    report = check_data(whole.data)
    report.raise_if_fatal()
    notes = [f"{report.pictures} pictures, {report.objects} objects, {len(report.classes)} classes"]
    if isinstance(source, TiledSource):
        notes.append(f"{source.num_tiles} tiles of them as well, {source.num_empty} without an object")
    notes += [f"warning: {FAULT_KINDS[fault.kind].title}: {fault.line()}" for fault in report.of("warning")[:5]]
    if len(report.of("warning")) > 5:
        notes.append(f"warning: {len(report.of('warning')) - 5} more; see them with `sleuth data check`")
    return report, notes + _too_many(report.most_objects, queries, "a picture")


def _too_many(objects: int, queries: int, what: str) -> list[str]:
    if objects <= queries:
        return []
    return [f"warning: {what} has {objects} objects, the model finds {queries} at most: raise model.num_queries"]


def _limit(recipe: Recipe, split: str) -> int | None:
    settings = recipe.data
    return {settings.train: settings.train_limit, settings.val: settings.val_limit}.get(split, 0) or None
