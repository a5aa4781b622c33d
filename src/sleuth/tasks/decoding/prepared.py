"""What decoding makes of a model before many steps: copies of weights that a processor reads faster, recorded steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.flat_decoder import can_be_flat
from sleuth.nn.shortlist import Shortlist, worth_a_shortlist
from sleuth.nn.turned import TurnedWeights
from sleuth.tasks.decoding.captured import CapturedSteps
from sleuth.tasks.decoding.steps import FlatSteps, Steps


@dataclass(frozen=True)
class Prepared:
    """Copies of a model's weights; they hold as long as neither the weights nor the cores of attention change.

    Args:
        turned: of layers that a step goes through.
        shortlist: of the head, for greedy search; None where it would not be faster.
        steps: takes the model's steps in its stead: recorded on a GPU, with fewer calls on a processor; None where the
            model takes them itself.
    """

    turned: TurnedWeights
    shortlist: Shortlist | None = None
    steps: Steps | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs, the model's layers compute with the copies, without gradients."""
        with self.turned:
            yield


def prepare(model: Seq2Seq) -> Prepared:
    """What makes a model that is to translate a lot faster.

    On a processor, copies: a quarter of the head; what makes the decoder's queries, keys and values; and, when a batch
    is of a size that gains by it, the decoder once more. On a GPU, steps that are recorded as they come, with caches of
    their own.
    """
    if model.head.weight.device.type == "cuda":
        return Prepared(TurnedWeights(()), steps=CapturedSteps(model))
    flat = FlatSteps(model) if can_be_flat(model.decoder) else None
    turned = TurnedWeights([model.head] if flat else [*model.decoder.step_linears(), model.head])
    return Prepared(turned, Shortlist(model.head) if worth_a_shortlist(model.head) else None, flat)


def unprepared() -> Prepared:
    """No copies."""
    return Prepared(TurnedWeights(()))
