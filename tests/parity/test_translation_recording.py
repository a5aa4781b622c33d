"""The attention of a translation model: every layer and head, self and cross, and the same in decoding with a cache."""

import pytest
import torch

from sleuth.explain.record import record_attention
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding import align_ids

HEADS, SOURCE, TARGET = 4, 6, 5
CONFIG = Seq2SeqConfig(
    source_vocab=19,
    target_vocab=19,
    dim=16,
    num_heads=HEADS,
    encoder_layers=2,
    decoder_layers=3,
    feedforward_dim=32,
    max_positions=12,
)
NAMES = {f"encoder.layers.{number}.self_attention" for number in range(2)} | {
    f"decoder.layers.{number}.{kind}_attention" for number in range(3) for kind in ("self", "cross")
}


@pytest.fixture(params=[False, True], ids=["post-norm", "pre-norm"])
def model(request) -> Seq2Seq:
    return build_seq2seq(Seq2SeqConfig(**{**vars(CONFIG), "pre_norm": request.param})).eval()


@pytest.fixture
def words() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(3, 19, (2, SOURCE)), torch.randint(3, 19, (2, TARGET))


@torch.no_grad()
def test_every_layer_and_head_is_there_and_the_answer_the_same(model: Seq2Seq, words) -> None:
    plain = model(*words).logits
    with record_attention(model) as maps:
        recorded = model(*words).logits
    torch.testing.assert_close(recorded, plain)
    assert set(maps) == NAMES
    assert set(maps.dense) == NAMES
    for name, weights in maps.dense.items():
        queries = SOURCE if name.startswith("encoder") else TARGET
        keys = TARGET if name.startswith("decoder") and "self" in name else SOURCE
        assert weights.shape == (2, HEADS, queries, keys)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, queries))


@torch.no_grad()
def test_no_word_looks_at_a_later_one_nor_at_padding(model: Seq2Seq, words) -> None:
    valid = torch.tensor([[True] * SOURCE, [True] * (SOURCE - 2) + [False] * 2])
    with record_attention(model) as maps:
        model(*words, valid)
    for name, weights in maps.dense.items():
        if name.startswith("decoder") and "self" in name:
            assert weights.triu(1).abs().max() == 0
        else:
            assert weights[1, :, :, -2:].abs().max() == 0


@torch.no_grad()
def test_steps_with_a_cache_look_as_all_words_at_once_do(model: Seq2Seq, words) -> None:
    source, target = words
    with record_attention(model) as whole:
        model(source, target)
    with record_attention(model, only="decoder") as steps:
        cache = model.start(model.encode(source))
        for place in range(TARGET):
            model.step(target[:, place : place + 1], cache)
    assert set(steps) == {name for name in NAMES if name.startswith("decoder")}
    for name, runs in steps.entries.items():
        assert len(runs) == TARGET
        for place, weights in enumerate(runs):
            seen = whole[name][:, :, place : place + 1]
            torch.testing.assert_close(weights, seen[..., : weights.shape[-1]], atol=1e-5, rtol=1e-4)


def test_alignment_is_the_recorded_cross_attention(model: Seq2Seq, words) -> None:
    sentence, translation = words[0][0].tolist(), words[1][0].tolist()
    aligned = align_ids(model, [sentence], [translation], layer=2, head=1)[0].weights
    read = torch.tensor([[CONFIG.bos_id, *translation]])
    with torch.no_grad(), record_attention(model, only="decoder.layers.2.cross") as maps:
        model(words[0][:1], read)
    torch.testing.assert_close(aligned, maps["decoder.layers.2.cross_attention"][0, 1])
