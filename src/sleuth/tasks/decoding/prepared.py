"""What decoding makes of a model before many steps: copies of weights that a processor reads faster, recorded steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.shortlist import Shortlist, worth_a_shortlist
from sleuth.nn.turned import TurnedWeights
from sleuth.tasks.decoding.captured import CapturedSteps


@dataclass(frozen=True)
class Prepared:
    """Copies of a model's weights; they hold as long as the weights do not change.

    Args:
        turned: of the layers that every step goes through.
        shortlist: of the head, for greedy search; None where it would not be faster.
        steps: the model's steps recorded on a GPU; None elsewhere.
    """

    turned: TurnedWeights
    shortlist: Shortlist | None = None
    steps: CapturedSteps | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs, the model's layers compute with the copies, without gradients."""
        with self.turned:
            yield


def prepare(model: Seq2Seq) -> Prepared:
    """What makes a model that is to translate a lot faster.

    On a processor, copies: as much memory as the decoder and one and a quarter heads. On a GPU, steps that are recorded
    as they come, with caches of their own.
    """
    if model.head.weight.device.type == "cuda":
        return Prepared(TurnedWeights(()), steps=CapturedSteps(model))
    turned = TurnedWeights([*model.decoder.step_linears(), model.head])
    return Prepared(turned, Shortlist(model.head) if worth_a_shortlist(model.head) else None)


def unprepared() -> Prepared:
    """No copies."""
    return Prepared(TurnedWeights(()))
