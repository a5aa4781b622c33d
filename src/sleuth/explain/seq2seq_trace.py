"""The data flow of an encoder-decoder Transformer: of one training step, and of decoding a word at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sleuth.explain.steps import Trace, TraceStep, shape_text
from sleuth.explain.watch import Watch, gradient_flops, parameters_of, parameters_of_parts, watched
from sleuth.models.seq2seq import Seq2Seq
from sleuth.nn.tokens import LearnedTokenPositions
from sleuth.tasks.translation import TranslationLoss, TranslationLossConfig
from sleuth.types.text import TextBatch


@dataclass(frozen=True)
class TranslationTrace:
    """What passed where, while training and while translating.

    Args:
        training: one training step: all words of the target at once.
        decoding: the same words one after another, with the cache; a step's shape is that of the words' keys and
            values: layers, (keys, values), sentences, words so far, dim.
        flops_without_cache: of decoding, if every step read all words so far again.
    """

    training: Trace
    decoding: Trace
    flops_without_cache: int

    def __str__(self) -> str:
        return self.render()

    def to_json(self) -> dict[str, Any]:
        """The training step as plain values, as those of other models, and the decoding beside it."""
        decoding = self.decoding.to_json()
        kept = {name: decoding[name] for name in ("flops", "steps")}
        return self.training.to_json() | {"decoding": kept | {"flops_without_cache": self.flops_without_cache}}

    def render(self) -> str:
        """Both as tables of text."""
        return "\n".join(
            [
                "One training step: all words at once",
                "",
                self.training.render(note=False),
                "",
                "Decoding: a word at a time, with the cache",
                "",
                self.decoding.render(),
                f"Without the cache, decoding would take {self.flops_without_cache / 1e9:.3f} GFLOPs.",
            ]
        )


def trace_seq2seq(
    model: Seq2Seq,
    source: Int[Tensor, "batch source_words"],
    target: Int[Tensor, "batch target_words"],
    *,
    layers: bool = False,
    name: str = "",
) -> TranslationTrace:
    """Run a training step, and decode the same words one after another; tell what passed where.

    Args:
        model: left as it is; it runs in evaluation mode.
        source: words of the source.
        target: words to be said, the last of which is never read.
        layers: tell of every layer of the training step, and of what each decoding step makes, as well.
        name: what to call the model.
    """
    name = name or type(model).__name__
    batch = _batch(source, target, model.config.bos_id)
    criterion = TranslationLoss(TranslationLossConfig())

    def loss_of() -> Tensor:
        return criterion(model(batch.source, batch.target_in), batch).total

    with watched(model) as watch:
        loss = loss_of()
    backwards = gradient_flops(model, loss_of) - watch.total_flops
    training = tuple(_training_steps(model, batch, watch, loss, backwards, layers=layers))
    flops = watch.total_flops + backwards
    decoding, again = _decode(model, batch, layers=layers)
    total = sum(step.flops for step in decoding if not step.detail)
    return TranslationTrace(
        Trace(name, training, parameters_of(model), flops), Trace(name, decoding, 0, total), flops_without_cache=again
    )


def _batch(source: Tensor, target: Tensor, bos: int) -> TextBatch:
    started = torch.full_like(target[:, :1], bos)
    return TextBatch(
        source=source,
        source_valid=torch.ones_like(source, dtype=torch.bool),
        target_in=torch.cat((started, target[:, :-1]), dim=1),
        target_out=target,
        target_valid=torch.ones_like(target, dtype=torch.bool),
        names=tuple(f"pair {number}" for number in range(1, len(source) + 1)),
    )


def _training_steps(
    model: Seq2Seq, batch: TextBatch, watch: Watch, loss: Tensor, backwards: int, *, layers: bool
) -> Iterator[TraceStep]:
    parameters = parameters_of_parts(model)

    def step(what: str, part: str, about: str) -> TraceStep:
        shape = tuple(watch.seen[part].output.shape)
        return TraceStep(what, shape, part, about, parameters[part], watch.parts[part].flops)

    def within(part: str, about: str) -> Iterator[TraceStep]:
        for number in range(len(model.get_submodule(f"{part}.layers")) if layers else 0):  # type: ignore[arg-type]
            module = f"{part}.layers.{number}"
            seen, own = watch.seen[module], parameters_of(model.get_submodule(module))
            what = f"{part} layer {number + 1}"
            yield TraceStep(what, tuple(seen.output.shape), module, about, own, seen.flops, detail=True)

    scaled = f"times {model.target_embedding.scale:.4g}, " if model.target_embedding.scale != 1 else ""
    table = f"a vector for each word, {scaled}plus its position"
    decoder = model.config.decoder_layers
    yield TraceStep("source", tuple(batch.source.shape), about="numbers of the source words")
    yield step("source positions", "source_positions", _positions(model.source_positions))
    yield step("source words", "source_embedding", table)
    yield from within("encoder", "self-attention, feed-forward")
    yield step("memory", "encoder", f"words that have seen each other, after {model.config.encoder_layers} layers")
    yield TraceStep("target", tuple(batch.target_in.shape), about="BOS and the target words but the last")
    yield step("target positions", "target_positions", _positions(model.target_positions))
    yield step("queries", "target_embedding", "the same of the target: each asks for the next word")
    yield from within("decoder", "self-, cross-attention, feed-forward")
    yield step("states", "decoder", f"queries that have seen earlier words and memory, after {decoder} layers")
    yield step("logits", "head", "a score for each word of the vocabulary, at every place")
    yield TraceStep("loss", tuple(loss.shape), about=f"{float(loss):.3f}: cross-entropy, smoothed, of a word")
    yield TraceStep("gradients", (), about="of all parameters, backwards", flops=backwards)
    outside = watch.parts.get("")
    if outside is not None and outside.flops:
        yield TraceStep("elsewhere", (), about="of the model itself, outside of its parts", flops=outside.flops)


def _positions(part: object) -> str:
    return "a learned vector for each place" if isinstance(part, LearnedTokenPositions) else "sines of each place"


def _decode(model: Seq2Seq, batch: TextBatch, *, layers: bool) -> tuple[tuple[TraceStep, ...], int]:
    """The steps of decoding, and the FLOPs that decoding the same words takes without a cache."""
    words = batch.target_in
    steps = [TraceStep("source", tuple(batch.source.shape), about="numbers of the source words")]
    with watched(model) as watch:
        memory = model.encode(batch.source)
        encoded = watch.flops_so_far()
        cache = model.start(memory)
        started = watch.flops_so_far()
        steps += [
            TraceStep("memory", tuple(memory.tokens.shape), "encoder", "encoded once", flops=encoded),
            TraceStep(
                "keys, values of it",
                cache.shapes()["memory"],
                about="layers, (keys, values), sentences, words, dim; computed once",
                flops=started - encoded,
            ),
        ]
        for place in range(words.shape[1]):
            before = watch.flops_so_far()
            logits = model.step(words[:, place : place + 1], cache)
            made = _made(watch, tuple(logits.shape))
            steps += [replace(each, name=f"{each.name} {place + 1}") for each in made.values() if layers]
            read = "BOS" if place == 0 else "the word said last"
            about = f"reads {read}: query {shape_text(made['query'].shape)}, logits {shape_text(tuple(logits.shape))}"
            flops = watch.flops_so_far() - before
            steps.append(TraceStep(f"step {place + 1}", cache.shapes()["words"], about=about, flops=flops))
        cached = watch.flops_so_far()
        for length in range(1, words.shape[1] + 1):
            read_again = words[:, :length]
            queries = model.target_embedding(read_again, model.target_positions(length))
            model.head(model.decode(queries, memory)[:, -1])
        uncached = encoded + watch.flops_so_far() - cached
    return tuple(steps), uncached


def _made(watch: Watch, logits: tuple[int, ...]) -> Mapping[str, TraceStep]:
    """What the last step made on its way."""
    seen = watch.seen
    query, state = tuple(seen["target_embedding"].output.shape), tuple(seen["head"].inputs[0].shape)
    return {
        "query": TraceStep("query", query, "target_embedding", "the word's vector, and its position", detail=True),
        "state": TraceStep("state", state, "decoder", "the query, having looked at cache and memory", detail=True),
        "logits": TraceStep("logits", logits, "head", "a score for each word that may come next", detail=True),
    }
