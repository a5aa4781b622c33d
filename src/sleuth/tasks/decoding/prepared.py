"""What decoding makes of a model's weights before many steps: copies that a processor reads faster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.shortlist import Shortlist, worth_a_shortlist
from sleuth.nn.turned import TurnedWeights


@dataclass(frozen=True)
class Prepared:
    """Copies of a model's weights; they hold as long as the weights do not change.

    Args:
        turned: of the layers that every step goes through.
        shortlist: of the head, for greedy search; None where it would not be faster.
    """

    turned: TurnedWeights
    shortlist: Shortlist | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs, the model's layers compute with the copies, without gradients."""
        with self.turned:
            yield


def prepare(model: Seq2Seq) -> Prepared:
    """Copies for a model that is to translate a lot; on a GPU nothing is copied.

    They take as much memory as the decoder and one and a half heads.
    """
    turned = TurnedWeights([*model.decoder.step_linears(), model.head])
    return Prepared(turned, Shortlist(model.head) if worth_a_shortlist(model.head) else None)


def unprepared() -> Prepared:
    """No copies."""
    return Prepared(TurnedWeights(()))
