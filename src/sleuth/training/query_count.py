"""Whether a model has queries enough for the objects of a picture, at prediction and while it learns."""

from sleuth.data.fullness import DRAWN, USUAL, training_fullness
from sleuth.data.samples import SampleSource
from sleuth.data.scenes import SceneSource
from sleuth.models.families import family_of
from sleuth.training.recipe import Recipe

_LEAST_QUERIES = 50
_MOST_TIMES = 2
_SCENES_DRAWN = 100
_CROWDING = ("mosaic", "mixup", "copy_paste")


def queries_for(most_objects: int, in_training: int = 0) -> int:
    """How many queries a new model should have: half as many again as the fullest picture has objects.

    At least 50, in tens; and as many as 99 of 100 training pictures hold, where several pictures are put into one.
    These may double the number, no more: at prediction such queries are idle, and in training the rare picture with
    more objects teaches fewer of them.

    Args:
        most_objects: of the fullest picture.
        in_training: objects that 99 of 100 training pictures hold at most.

    >>> queries_for(12), queries_for(50), queries_for(50, in_training=101), queries_for(50, in_training=200)
    (50, 80, 110, 160)
    """
    alone = max(_LEAST_QUERIES, _tens(-(-3 * most_objects // 2)))
    return max(alone, min(_MOST_TIMES * alone, _tens(in_training)))


def crowding_notes(recipe: Recipe, source: SampleSource) -> list[str]:
    """What to say before training where augmentation makes pictures with more objects than the model has queries.

    One in a hundred is let pass. Of scenes fewer are drawn, as they have to be composed. A dense detector learns from
    all objects however many there are.
    """
    augmentation, queries = recipe.augmentation, recipe.model.config.num_queries
    crowding = [key for key in _CROWDING if getattr(augmentation, key)]
    if not crowding or family_of(recipe.model.config).dense:
        return []
    drawn = _SCENES_DRAWN if isinstance(source, SceneSource) else DRAWN
    found = training_fullness(source, augmentation, pictures=drawn)
    share = found.share_above(queries)
    if share <= 1 - USUAL:
        return []
    return [
        f"warning: with {' and '.join(crowding)}, {share:.0%} of the training pictures have more objects than the "
        f"model has queries ({queries}), at most {found.most} in {drawn} drawn: what exceeds them is not learnt; "
        f"raise model.num_queries to {_tens(found.usual)}, or have less of that augmentation"
    ]


def _tens(number: int) -> int:
    """Rounded up to tens."""
    return -(-number // 10) * 10
