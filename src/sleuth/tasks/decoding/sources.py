"""Sentences made ready for decoding: checked, sorted by length, cut into batches, padded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig
from sleuth.tasks.decoding.options import DecodingOptions

Ids = Sequence[int]


@dataclass(frozen=True)
class Sources:
    """A batch of sentences to translate.

    Args:
        numbers: of the sentences, in the order they were given.
        ids: source words, padded at the right.
        valid: True on words; None where there is no padding.
        prefixes: what every translation begins with: BOS and a forced prefix, of one length for all.
        limits: the most words to add to each.
    """

    numbers: tuple[int, ...]
    ids: Int[Tensor, "batch words"]
    valid: Bool[Tensor, "batch words"] | None
    prefixes: Int[Tensor, "batch forced"]
    limits: tuple[int, ...]


def padded(
    sentences: Sequence[Ids], pad: int, device: torch.device
) -> tuple[Int[Tensor, "batch words"], Bool[Tensor, "batch words"] | None]:
    """Sentences as one tensor, and which of it are words (None if all are)."""
    lengths = [len(sentence) for sentence in sentences]
    longest = max(lengths)
    rows = [[*sentence, *[pad] * (longest - len(sentence))] for sentence in sentences]
    ids = torch.tensor(rows, dtype=torch.long).reshape(len(rows), longest).to(device)
    if min(lengths) == longest:
        return ids, None
    return ids, (torch.arange(longest) < torch.tensor(lengths)[:, None]).to(device)


def check_sentences(
    sentences: Sequence[Ids], prefixes: Sequence[Ids], config: Seq2SeqConfig, *, called: str = "forced prefix"
) -> None:
    """Refuse what the model cannot read.

    Args:
        sentences: source words.
        prefixes: target words after BOS that the model is to read, for each sentence.
        config: for vocabularies and positions.
        called: what messages call the latter.

    Raises:
        UserError: a sentence or prefix that is longer than the model's positions, with its number from 1 and length;
            a word that the model does not have.
        ValueError: there are not as many of one as of the other.
    """
    if len(prefixes) != len(sentences):
        raise ValueError(f"{len(sentences)} sentences, but {len(prefixes)} of {called}")
    most = config.max_positions
    for number, (sentence, prefix) in enumerate(zip(sentences, prefixes, strict=True), start=1):
        where = f"sentence {number}"
        if len(sentence) > most:
            raise UserError(
                f"it has {len(sentence)} tokens, but the model has {most} positions",
                where=where,
                mend="split it, or use a model with more positions",
            )
        if len(prefix) >= most:
            raise UserError(
                f"its {called} has {len(prefix)} tokens, but the model has {most} positions, BOS included",
                where=where,
                mend=f"give a shorter {called}",
            )
        for name, words, vocabulary in (
            ("the source", sentence, config.source_vocab),
            (f"the {called}", prefix, config.target_vocab),
        ):
            if words and not 0 <= min(words) <= max(words) < vocabulary:
                raise UserError(
                    f"{name} has a word outside the model's vocabulary of {vocabulary}",
                    where=where,
                    mend="use the tokenizer that the model was trained with",
                )


def batches(
    sentences: Sequence[Ids],
    prefixes: Sequence[Ids],
    options: DecodingOptions,
    config: Seq2SeqConfig,
    *,
    max_sentences: int,
    max_tokens: int,
    device: torch.device,
) -> Iterator[Sources]:
    """Sentences of like length together, the longest first, empty ones left out.

    Args:
        sentences: source words.
        prefixes: what each translation must begin with; sentences of a batch have prefixes of one length.
        options: for the limits.
        config: for BOS, padding and positions.
        max_sentences: the most sentences of a batch.
        max_tokens: the most source tokens of a batch, padding included.
        device: where to.
    """
    numbers = [number for number, sentence in enumerate(sentences) if sentence]
    numbers.sort(key=lambda number: (len(prefixes[number]), -len(sentences[number])))
    batch: list[int] = []
    for number in [*numbers, -1]:
        if batch and (
            number < 0
            or len(batch) == max_sentences
            or (len(batch) + 1) * len(sentences[batch[0]]) > max_tokens
            or len(prefixes[number]) != len(prefixes[batch[0]])
        ):
            yield _batch(batch, sentences, prefixes, options, config, device)
            batch = []
        batch.append(number)


def _batch(
    numbers: Sequence[int],
    sentences: Sequence[Ids],
    prefixes: Sequence[Ids],
    options: DecodingOptions,
    config: Seq2SeqConfig,
    device: torch.device,
) -> Sources:
    ids, valid = padded([sentences[number] for number in numbers], config.pad_id, device)
    forced, _ = padded([[config.bos_id, *prefixes[number]] for number in numbers], config.pad_id, device)
    # The last word is written and never read, so that it needs no position.
    room = config.max_positions - forced.shape[1] + 1
    return Sources(
        numbers=tuple(numbers),
        ids=ids,
        valid=valid,
        prefixes=forced,
        limits=tuple(options.limit(len(sentences[number]), room) for number in numbers),
    )
