"""How likely given translations are: the log-probability of each word, by teacher forcing."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq
from sleuth.tasks.decoding.sources import Ids, check_sentences, padded
from sleuth.tasks.decoding.translate import evaluating


def score_ids(
    model: Seq2Seq,
    sentences: Sequence[Ids],
    translations: Sequence[Ids],
    *,
    end: bool = True,
    max_tokens: int = 4096,
) -> list[tuple[float, ...]]:
    """The log-probability of every word of given translations; their sum is that of the translation.

    Args:
        model: on any device.
        sentences: source words, as for `translate_ids`; none may be empty.
        translations: target words without BOS and EOS.
        end: score EOS after each translation too.
        max_tokens: the most source and the most target tokens of a batch, padding included.

    Raises:
        UserError: a sentence or translation is empty where it may not be, or longer than the model's positions.
    """
    targets = [(*words, model.config.eos_id) if end else tuple(words) for words in translations]
    check_sentences(sentences, [words[:-1] for words in targets], model.config, called="translation")
    for number, sentence in enumerate(sentences, start=1):
        if not sentence:
            raise UserError("an empty sentence has no translation to score", where=f"sentence {number}")
    found: list[tuple[float, ...]] = [()] * len(sentences)
    with evaluating(model), torch.inference_mode():
        for numbers in _groups(sentences, targets, max_tokens):
            rows = _scores(model, [sentences[n] for n in numbers], [targets[n] for n in numbers])
            for number, row in zip(numbers, rows, strict=True):
                found[number] = row
    return found


def _groups(sentences: Sequence[Ids], targets: Sequence[Ids], max_tokens: int) -> list[list[int]]:
    """Numbers of sentences of like length; those without any word to score are left out."""
    numbers = [number for number, words in enumerate(targets) if words]
    numbers.sort(key=lambda number: (len(targets[number]), len(sentences[number])), reverse=True)
    groups: list[list[int]] = []
    longest = 0
    for number in numbers:
        longest = max(longest, len(sentences[number]), len(targets[number]))
        if groups and (len(groups[-1]) + 1) * longest <= max_tokens:
            groups[-1].append(number)
        else:
            groups.append([number])
            longest = max(len(sentences[number]), len(targets[number]))
    return groups


def _scores(model: Seq2Seq, sentences: Sequence[Ids], targets: Sequence[Ids]) -> list[tuple[float, ...]]:
    device = model.target_embedding.table.weight.device
    source, source_valid = padded(sentences, model.config.pad_id, device)
    read, _ = padded([(model.config.bos_id, *words[:-1]) for words in targets], model.config.pad_id, device)
    wanted, asked = padded(targets, model.config.pad_id, device)
    asked = torch.ones_like(wanted, dtype=torch.bool) if asked is None else asked
    logits = model(source, read, source_valid, asked).logits.float()
    scores: Tensor = logits.gather(1, wanted[asked][:, None])[:, 0] - logits.logsumexp(1)
    return [tuple(part.tolist()) for part in scores.split([len(words) for words in targets])]
