"""Translation beside Hugging Face's `MarianMTModel.generate`, with the same weights, in the same run: words a second.

    uv run --group bench python benchmarks/translation_speed.py --markdown benchmarks/README.md

The model has the size of an opus-mt model (6 + 6 layers, dim 512, 58,101 words) and random weights, which end no
sentence. Sentences are of mixed lengths, and each is told to end when its translation is as long as itself, so that
both sides write the same words; `--length` lets all go on for as many words instead. Greedy search and beam search of 4
have the settings that opus-mt models come with. A training step is forward pass, cross-entropy, backward pass and fused
AdamW; its words are target words without padding.

`--ctranslate2 float32` (or int8) lets our side translate through its CTranslate2 runtime. The engine has one limit for
a batch, so that this goes with `--length`.

Before anything is timed, both must write the same words, and find the same loss and gradient. Then the two take turns,
A B A B, and medians are compared. Peak memory is that of a process of its own for each, above what it holds after its
imports.
"""

import argparse
import warnings
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import finalize

import torch
import torch.nn.functional as F
from machine import describe, table
from peer_marian import OPUS_MT, build_ours, build_peer, generation, share_weights
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList
from turns import Step, add_options, compared, foot, medians, peak_in_a_process, peak_mib, publish, take_turns

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig
from sleuth.runtime.ctranslate2 import CTranslate2Engine
from sleuth.tasks.decoding import DecodingOptions, prepare, translate_ids
from sleuth.tasks.decoding.sources import padded
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.origins.ctranslate2_export import export_ctranslate2

SIDES = ("sleuth", "peer")
Sentences = list[list[int]]


@dataclass(frozen=True)
class Case:
    """One thing that is measured: translating a batch, or a training step on it."""

    name: str
    batch: int
    beams: int = 1
    training: bool = False


CASES = (
    *(Case(f"greedy-{batch}", batch) for batch in (1, 16, 64)),
    *(Case(f"beam4-{batch}", batch, beams=4) for batch in (1, 16, 64)),
    Case("training-32", 32, training=True),
)


def make_sentences(case: Case, config: Seq2SeqConfig, seed: int = 1) -> Sentences:
    """Random sentences of 5 to 40 words; a single one has 20."""
    draw = torch.Generator().manual_seed(seed)
    lengths = [20] if case.batch == 1 else torch.randint(5, 41, (case.batch,), generator=draw).tolist()
    return [torch.randint(1, config.pad_id, (length,), generator=draw).tolist() for length in lengths]


def make_models(config: Seq2SeqConfig, device: str) -> dict[str, nn.Module]:
    """Both sides, with the same weights."""
    torch.manual_seed(0)
    ours, peer = build_ours(config), build_peer(config)
    share_weights(ours, peer)
    return {"sleuth": ours.to(device).eval(), "peer": peer.to(device).eval()}


def in_engine(model: Seq2Seq, words: argparse.Namespace) -> CTranslate2Engine:
    """Our model in CTranslate2, with made-up words."""
    size = model.config.target_vocab
    named = train_tokenizer([f"word{number}" for number in range(size)], "words", size)
    folder = TemporaryDirectory()
    export_ctranslate2(model, (named, named), Path(folder.name))
    engine = CTranslate2Engine(Path(folder.name), device=words.device, compute=words.ctranslate2, threads=words.threads)
    finalize(engine, folder.cleanup)
    return engine


# One call of either side


def decoding(case: Case, words: int | None) -> DecodingOptions:
    """Hugging Face's rules for beams; every translation has so many words, or as many as its source."""
    length = {"max_length_factor": 1.0, "max_length_extra": 0} if words is None else {"max_length": words}
    return DecodingOptions(beams=case.beams, penalty="power", length_penalty=1.0, force_eos=True, **length)


class EndsWithSource(LogitsProcessor):
    """Tells Hugging Face's search when a sentence ends, as `DecodingOptions` tells ours."""

    def __init__(self, sentences: Sentences, beams: int, eos: int) -> None:
        self.limits = torch.tensor([len(words) for words in sentences]).repeat_interleave(beams)
        self.eos = eos

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        last = (self.limits == input_ids.shape[1]).nonzero()[:, 0].to(scores.device)
        if len(last):
            scores[last] = float("-inf")
            scores[last, self.eos] = 0.0
        return scores


def translation(
    model: nn.Module, sentences: Sentences, case: Case, words: int | None, config: Seq2SeqConfig, side: str, device: str
) -> Step:
    """From lists of numbers to lists of numbers: padding and sorting count too."""
    options = decoding(case, words)
    longest = words or max(map(len, sentences))
    prepared = prepare(model) if isinstance(model, Seq2Seq) else None  # once for a model, like loading it
    settings = generation(config, beams=case.beams, words=longest)
    ends = EndsWithSource(sentences, case.beams, config.eos_id)
    told = LogitsProcessorList([] if words else [ends])

    def ours() -> object:
        if isinstance(model, CTranslate2Engine):
            return [list(best.ids)[: longest - 1] for (best, *_) in model.translate_ids(sentences, options)]
        return [list(best.ids) for (best, *_) in translate_ids(model, sentences, options, prepared=prepared)]

    def theirs() -> object:
        ids, valid = padded(sentences, config.pad_id, torch.device(device))
        valid = torch.ones_like(ids) if valid is None else valid.long()
        found = model.generate(input_ids=ids, attention_mask=valid, generation_config=settings, logits_processor=told)
        return [row[1 : row.index(config.eos_id)] for row in found.tolist()]

    return ours if side == "sleuth" else theirs


def loss_of(model: nn.Module, sentences: Sentences, config: Seq2SeqConfig, side: str, device: str) -> Tensor:
    """Mean cross-entropy of the target words and EOS."""
    chip = torch.device(device)
    ids, valid = padded(sentences, config.pad_id, chip)
    targets = [[*words[::-1], config.eos_id] for words in sentences]
    wanted, asked = padded(targets, config.pad_id, chip)
    asked = torch.ones_like(wanted, dtype=torch.bool) if asked is None else asked
    if side == "peer":
        attend = None if valid is None else valid.long()
        return model(input_ids=ids, attention_mask=attend, labels=wanted.masked_fill(~asked, -100)).loss
    read, _ = padded([[config.bos_id, *words[:-1]] for words in targets], config.pad_id, chip)
    return F.cross_entropy(model(ids, read, valid, asked).logits, wanted[asked])


def training(model: nn.Module, sentences: Sentences, config: Seq2SeqConfig, side: str, device: str) -> Step:
    """Forward pass, loss, backward pass and the optimiser's step."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step() -> object:
        loss = loss_of(model, sentences, config, side, device)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def make_step(case: Case, model: nn.Module, side: str, words: argparse.Namespace) -> Step:
    sentences = make_sentences(case, OPUS_MT)
    if case.training:
        return training(model, sentences, OPUS_MT, side, words.device)
    model = model.eval() if isinstance(model, nn.Module) else model
    return translation(model, sentences, case, words.length, OPUS_MT, side, words.device)


def count_words(case: Case, length: int | None) -> int:
    """Words written in a call, EOS included; target words of a training step."""
    if length and not case.training:
        return case.batch * length
    return sum(len(words) + case.training for words in make_sentences(case, OPUS_MT))


def check_equal(models: dict[str, nn.Module], device: str) -> dict[str, float]:
    """How the two differ.

    Raises:
        AssertionError: they are not the same model.
    """
    case, found = Case("check", 4), {}
    sentences = make_sentences(case, OPUS_MT)
    for beams, length in product((1, 4), (12, None)):
        searched = replace(case, beams=beams)
        mine, theirs = (
            translation(models[side], sentences, searched, length, OPUS_MT, side, device)() for side in SIDES
        )
        assert mine == theirs, (beams, length, mine, theirs)
        found[f"different words, beam {beams}"] = len({word for words in mine for word in words})
    losses = []
    for side in SIDES:
        losses.append(loss_of(models[side], sentences, OPUS_MT, side, device))
        losses[-1].backward()
    # Of all but the table of words: Hugging Face's padding word, with which its decoder starts, does not learn.
    norms = [
        torch.stack([p.grad.norm() for name, p in models[side].named_parameters() if ".layers." in name]).norm()
        for side in SIDES
    ]
    for model in models.values():
        model.zero_grad(set_to_none=True)
    found["loss, relative"] = (losses[0] / losses[1] - 1).abs().item()
    found["gradient norm, relative"] = (norms[0] / norms[1] - 1).abs().item()
    assert found["loss, relative"] < 1e-4, found
    assert found["gradient norm, relative"] < 1e-3, found
    return found


def check_engine(models: dict[str, Any], words: argparse.Namespace) -> dict[str, float]:
    """How many of the words of greedy search are the peer's; in float32 all must be."""
    case = Case("check", 16)
    sentences = make_sentences(case, OPUS_MT)
    mine, theirs = (
        translation(models[side], sentences, case, words.length, OPUS_MT, side, words.device)() for side in SIDES
    )
    pairs = [pair for both in zip(mine, theirs, strict=True) for pair in zip(*both, strict=True)]
    alike = sum(one == other for one, other in pairs) / len(pairs)
    assert alike == 1 or words.ctranslate2 != "float32", alike
    print("words alike:", alike, flush=True)
    return {f"words alike in {words.ctranslate2}": alike}


# Time and memory


def time_case(case: Case, models: dict[str, Any], words: argparse.Namespace) -> dict[str, list[float]]:
    """Times of both sides, taken in turns after one call each to warm up."""
    steps = {side: make_step(case, models[side], side, words) for side in SIDES}
    return take_turns(steps, words.repeats, words.device, settle=2 if case.batch == 1 else 0)


def measure_memory(case: Case, side: str, words: argparse.Namespace) -> float:
    """MiB at the peak of two calls above what the process held after its imports: weights, cache, optimiser."""

    def make() -> Step:
        model = build_ours(OPUS_MT) if side == "sleuth" else build_peer(OPUS_MT)
        if side == "peer":
            # As opus-mt's do, it never ends a sentence early: like ours.
            model.final_logits_bias[0, OPUS_MT.eos_id] = -1e4
        model = in_engine(model, words) if words.ctranslate2 and side == "sleuth" else model.to(words.device).eval()
        return make_step(case, model, side, words)

    return peak_mib(make, words.device)


def memory_in_a_process(case: Case, side: str, words: argparse.Namespace) -> float:
    """`measure_memory` in a fresh process, so that neither side finds what the other left."""
    more = ["--length", str(words.length)] if words.length else []
    more += ["--ctranslate2", words.ctranslate2] if words.ctranslate2 else []
    return peak_in_a_process(case.name, side, words, *more)


# Report


def summary(
    case: Case, times: dict[str, list[float]], memory: dict[str, float], words: argparse.Namespace
) -> dict[str, object]:
    """Medians and ratios; a ratio above 1 means that ours is faster, or smaller."""
    found: dict[str, object] = {"case": case.name, "clock": words.clock, "times": times}
    if times:
        middle = medians(times, SIDES, words.clock)
        written = count_words(case, words.length)
        found |= {"words_a_second": {side: written / middle[side] for side in SIDES}}
        found |= {"times_faster": middle["peer"] / middle["sleuth"]}
    if memory:
        found |= {"memory_mib": memory, "times_smaller": memory["peer"] / memory["sleuth"]}
    return found


def as_markdown(results: dict[str, object]) -> str:
    """The table of the README."""
    rows = []
    for found in results["cases"]:  # type: ignore[attr-defined]
        case = next(case for case in CASES if case.name == found["case"])
        search = "training step" if case.training else "greedy" if case.beams == 1 else f"beam {case.beams}"
        row = [f"{search}, batch {case.batch}"]
        row += compared(found.get("words_a_second"), found.get("times_faster"), "/s", 0)
        row += compared(found.get("memory_mib"), found.get("times_smaller"), " MiB", 0)
        rows.append(row)
    ours = f"Sleuth, CTranslate2 {results['engine']}" if results["engine"] else "Sleuth"
    header = ["words", ours, "Hugging Face", "times faster", "Sleuth peak", "Hugging Face peak", "times smaller"]
    length = f"{results['length']} words a sentence" if results["length"] else "as many words as the source has"
    return f"{table(header, rows)}\n\n{foot(results, length)}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, [case.name for case in CASES], repeats=5)
    parser.add_argument("--length", type=int, help="words of each translation, EOS included, rather than its source's")
    parser.add_argument("--ctranslate2", metavar="TYPE", help="our side in CTranslate2, computing in float32 or int8")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    if words.ctranslate2 and not words.length:
        raise SystemExit("--ctranslate2 wants --length, such as --length 32")
    torch.set_num_threads(words.threads)
    warnings.filterwarnings("ignore", message=".*generation.*")
    named = {case.name: case for case in CASES}
    if words.memory_of:
        print(measure_memory(named[words.memory_of[0]], words.memory_of[1], words))
        return
    machine = describe(words.device)
    cases = [case for case in CASES if not words.only or case.name in words.only]
    cases = [case for case in cases if not (words.ctranslate2 and case.training)]
    memory: dict[str, dict[str, float]] = {case.name: {} for case in cases}
    if not words.no_memory:
        for case in cases:
            memory[case.name] = {side: memory_in_a_process(case, side, words) for side in SIDES}
            print(case.name, memory[case.name], flush=True)
    models = make_models(OPUS_MT, words.device)
    equal = check_equal(models, words.device)
    print("equal:", equal, flush=True)
    if words.ctranslate2:
        models["sleuth"] = in_engine(models["sleuth"], words)
        equal |= check_engine(models, words)
    found = []
    for case in cases:
        times = {} if words.no_time else time_case(case, models, words)
        found.append(summary(case, times, memory[case.name], words))
        print({key: value for key, value in found[-1].items() if key != "times"}, flush=True)
    results: dict[str, object] = {
        "machine": machine,
        "engine": words.ctranslate2,
        "repeats": words.repeats,
        "length": words.length,
        "clock": words.clock,
        "equal": equal,
        "cases": found,
    }
    mark = f"translation-{words.ctranslate2 or 'speed'}{'-even' if words.length and not words.ctranslate2 else ''}"
    publish(results, as_markdown(results), mark, words)


if __name__ == "__main__":
    main()
