"""The trace of a translation model: shapes that were seen, FLOPs by the formula, a cache that grows word by word."""

import json
from dataclasses import replace

import pytest
import torch

from sleuth.explain.seq2seq_trace import TranslationTrace, trace_seq2seq
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq

CONFIG = Seq2SeqConfig(
    source_vocab=23,
    target_vocab=19,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=32,
    max_positions=12,
)
SOURCE, TARGET, DIM, HIDDEN = 7, 5, 16, 32
PRODUCT = 2 * DIM * DIM
"""FLOPs of a projection of one word; a multiply-add is two."""


def traced(model: Seq2Seq, **options) -> TranslationTrace:
    return trace_seq2seq(model, torch.randint(3, 19, (1, SOURCE)), torch.randint(3, 19, (1, TARGET)), **options)


@pytest.fixture(scope="module")
def trace() -> TranslationTrace:
    return traced(build_seq2seq(CONFIG), name="small")


def test_shapes_of_a_training_step(trace: TranslationTrace):
    assert {step.name: step.shape for step in trace.training.steps} == {
        "source": (1, SOURCE),
        "source positions": (SOURCE, DIM),
        "source words": (1, SOURCE, DIM),
        "memory": (1, SOURCE, DIM),
        "target": (1, TARGET),
        "target positions": (TARGET, DIM),
        "queries": (1, TARGET, DIM),
        "states": (1, TARGET, DIM),
        "logits": (1, TARGET, 19),
        "loss": (),
        "gradients": (),
    }


def test_the_cache_grows_by_a_word_a_step(trace: TranslationTrace):
    assert trace.decoding["keys, values of it"].shape == (3, 2, 1, SOURCE, DIM)
    for number in range(1, TARGET + 1):
        assert trace.decoding[f"step {number}"].shape == (3, 2, 1, number, DIM)


@pytest.mark.parametrize("tie", ["none", "target_output", "source_target", "all"])
@pytest.mark.parametrize("positions", ["sine", "learned"])
def test_parts_add_up_to_the_whole(tie: str, positions: str):
    model = build_seq2seq(replace(CONFIG, target_vocab=23, tie=tie, positions=positions, output_bias=True))
    trace = traced(model)
    training = trace.training
    assert sum(step.parameters for step in training.steps) == training.parameters
    assert training.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(step.flops for step in training.steps) == training.flops
    assert sum(step.flops for step in trace.decoding.steps) == trace.decoding.flops


def test_flops_are_those_of_the_formula(trace: TranslationTrace):
    def looking(queries: int, keys: int) -> int:
        return 2 * 2 * queries * keys * DIM

    feedforward = 2 * 2 * DIM * HIDDEN
    encoder_layer = SOURCE * (4 * PRODUCT + feedforward) + looking(SOURCE, SOURCE)
    assert trace.training["memory"].flops == 2 * encoder_layer
    of_words = TARGET * (4 * PRODUCT + 2 * PRODUCT + feedforward) + looking(TARGET, TARGET) + looking(TARGET, SOURCE)
    assert trace.training["states"].flops == 3 * (of_words + SOURCE * 2 * PRODUCT)
    assert trace.training["logits"].flops == 2 * TARGET * DIM * 19
    assert trace.decoding["memory"].flops == 2 * encoder_layer
    assert trace.decoding["keys, values of it"].flops == 3 * SOURCE * 2 * PRODUCT
    for place in range(1, TARGET + 1):
        step = 3 * (6 * PRODUCT + feedforward + looking(1, place) + looking(1, SOURCE)) + 2 * DIM * 19
        assert trace.decoding[f"step {place}"].flops == step


def test_backwards_costs_twice_as_much_as_forwards(trace: TranslationTrace):
    """A product has two gradients; the scores of attention and all of the layers have both."""
    forwards = sum(step.flops for step in trace.training.steps if step.name != "gradients")
    assert trace.training["gradients"].flops == 2 * forwards


def test_the_cache_saves_work(trace: TranslationTrace):
    assert trace.flops_without_cache > 2 * trace.decoding.flops - trace.decoding["memory"].flops


def test_layers_are_told_apart_and_add_up():
    trace = traced(build_seq2seq(CONFIG), layers=True)
    for part, count, whole in (("encoder", 2, "memory"), ("decoder", 3, "states")):
        rows = [trace.training[f"{part} layer {number}"] for number in range(1, count + 1)]
        assert all(row.detail for row in rows)
        assert sum(row.flops for row in rows) == trace.training[whole].flops
        assert sum(row.parameters for row in rows) == trace.training[whole].parameters
    assert trace.decoding["query 2"].shape == (1, 1, DIM)
    assert trace.decoding["state 2"].shape == (1, DIM)
    assert trace.decoding["logits 2"].shape == (1, 19)


def test_the_model_is_left_as_it_was():
    model = build_seq2seq(CONFIG)
    model.train()
    model.encoder.eval()
    cores = [module.core for module in model.modules() if hasattr(module, "core")]
    traced(model)
    assert model.training
    assert not model.encoder.training
    assert [module.core for module in model.modules() if hasattr(module, "core")] == cores
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_tables_and_json(trace: TranslationTrace):
    lines = str(trace).splitlines()
    assert max(map(len, lines)) <= 120
    assert "[3,2,1,5,16]" in "".join(lines)
    assert lines[-1] == f"Without the cache, decoding would take {trace.flops_without_cache / 1e9:.3f} GFLOPs."
    page = json.loads(json.dumps(trace.to_json()))
    assert page["steps"][3]["shape"] == [1, SOURCE, DIM]
    assert page["decoding"]["steps"][-1]["shape"] == [3, 2, 1, TARGET, DIM]
    assert page["decoding"]["flops"] == trace.decoding.flops
