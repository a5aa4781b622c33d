"""How to decode: every number and switch in one place, and what a translation is."""

from dataclasses import dataclass
from typing import Literal

_INFINITE = float("inf")


@dataclass(frozen=True)
class DecodingOptions:
    """Greedy search, beam search or sampling, and what holds for all of them.

    Lengths count the words that the model adds: neither BOS nor a forced prefix.

    Args:
        beams: hypotheses kept of each sentence; 1 is greedy search.
        n_best: translations given of each sentence: at most ``beams`` with beam search, any number with sampling.
        length_penalty: exponent of the length penalty; 0 ranks by the sum of log-probabilities.
        penalty: gnmt: ((5 + length) / 6) ** length_penalty; power: length ** length_penalty, as Hugging Face has it.
            Either divides the sum of log-probabilities, and counts EOS.
        early_stopping: when a sentence's beam search ends that has ``beams`` finished hypotheses. True: at once. False:
            when the best running hypothesis, scored as if it ended now, is worse than all of them. never: when it would
            be worse at any length.
        min_length: the fewest words before EOS.
        max_length: the most words, EOS included.
        max_length_factor: the most words for each source token, and ``max_length_extra`` more, as a second limit; None
            for no such limit.
        max_length_extra: see there.
        force_eos: the last word at the limit is EOS, in beam search at no cost, as with Hugging Face's
            ``forced_eos_token_id``.
        sample: draw words rather than take the best; with beams = 1.
        temperature: divides logits; below 1 is bolder, above 1 wilder. Of sampling, as the next two.
        top_k: draw from the k best words alone; None for no such limit.
        top_p: draw from the fewest best words whose probability is at least this; 1 draws from all.
        seed: of sampling. Sentence i draws from a stream of its own, whatever else is translated with it.
        repetition_penalty: words that are there already have their score divided by it if positive, multiplied if
            negative (logits; log-probabilities in beam search, as Hugging Face has it); 1 changes nothing.
        no_repeat_ngram: no run of so many words occurs twice; 0 for no such rule.
        renormalise: probabilities of a step add up to one over the words that the rules leave; it changes beam search
            alone, which sums them.
        word_scores: give the log-probability of each word too.

    Raises:
        ValueError: a number that makes no search, with its name.

    Source: Wu et al. 2016, "Google's neural machine translation system", equation 14; Keskar et al. 2019, "CTRL",
    section 4.1; Holtzman et al. 2020, "The curious case of neural text degeneration". The length penalty's default is
    that of Vaswani et al. 2017, section 6.1.
    """

    beams: int = 1
    n_best: int = 1
    length_penalty: float = 0.6
    penalty: Literal["gnmt", "power"] = "gnmt"
    early_stopping: bool | Literal["never"] = False
    min_length: int = 0
    max_length: int = 256
    max_length_factor: float | None = None
    max_length_extra: int = 10
    force_eos: bool = False
    sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    renormalise: bool = False
    word_scores: bool = False

    def __post_init__(self) -> None:
        least = {"beams": 1, "n_best": 1, "min_length": 0, "max_length": 1, "top_k": 1, "no_repeat_ngram": 0}
        least |= {"max_length_extra": 0}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} = {value} is less than {limit}")
        for name in ("temperature", "top_p", "repetition_penalty", "max_length_factor"):
            value = getattr(self, name)
            if value is not None and not 0 < value < _INFINITE:
                raise ValueError(f"{name} = {value} is not above 0")
        if self.top_p > 1:
            raise ValueError(f"top_p = {self.top_p} is above 1")
        if not -_INFINITE < self.length_penalty < _INFINITE:
            raise ValueError(f"length_penalty = {self.length_penalty} is no number")
        if self.penalty not in ("gnmt", "power"):
            raise ValueError(f"penalty = {self.penalty!r} is none of gnmt, power")
        if self.early_stopping not in (True, False, "never"):
            raise ValueError(f"early_stopping = {self.early_stopping!r} is none of true, false, never")
        if self.min_length >= self.max_length:
            raise ValueError(f"min_length = {self.min_length} leaves no room for EOS in max_length = {self.max_length}")
        if self.sample and self.beams > 1:
            raise ValueError(f"sample draws one word at a time: it goes with beams = 1, not {self.beams}")
        if not self.sample and self.n_best > self.beams:
            raise ValueError(f"n_best = {self.n_best} is more than beams = {self.beams}")

    def limit(self, source_length: int, room: int) -> int:
        """The most words of a sentence's translation, EOS included.

        Args:
            source_length: tokens of the source sentence.
            room: positions that the model has left for them.
        """
        most = min(self.max_length, room)
        if self.max_length_factor is not None:
            most = min(most, int(self.max_length_factor * source_length) + self.max_length_extra)
        return max(most, 1)

    def normalised(self, log_prob: float, length: int) -> float:
        """A hypothesis' score: its log-probability over the length penalty.

        >>> DecodingOptions(penalty="power", length_penalty=1.0).normalised(-6.0, 3)
        -2.0
        >>> DecodingOptions(penalty="gnmt", length_penalty=1.0).normalised(-6.0, 7)
        -3.0
        """
        base = length if self.penalty == "power" else (5 + length) / 6
        return log_prob / base**self.length_penalty


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence.

    Args:
        ids: its words: a forced prefix and what followed, without BOS and EOS.
        score: what hypotheses are ranked by: with beam search the log-probability over the length penalty. With greedy
            search and sampling the log-probability, or None where ``word_scores`` was not asked for. A forced prefix
            does not count.
        finished: it ended with EOS; False if it was cut at the limit.
        word_scores: log-probability of each word after the prefix, EOS included, if asked for.
    """

    ids: tuple[int, ...]
    score: float | None
    finished: bool
    word_scores: tuple[float, ...] | None = None
