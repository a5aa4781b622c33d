"""The encoder-decoder Transformer: which tables are one, what is hidden from whom, and which numbers make no model."""

from dataclasses import replace

import pytest
import torch

from sleuth.models.seq2seq import Seq2SeqConfig, build_seq2seq
from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS

TINY = Seq2SeqConfig(
    source_vocab=19,
    target_vocab=19,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=2,
    feedforward_dim=32,
    max_positions=12,
)


def sentences(length: int = 6, batch: int = 3) -> torch.Tensor:
    return torch.randint(3, 19, (batch, length))


@pytest.mark.parametrize(
    ("tie", "source_is_target", "target_is_output"),
    [
        ("none", False, False),
        ("target_output", False, True),
        ("source_target", True, False),
        ("all", True, True),
    ],
)
def test_tables_of_words_are_one_as_asked(tie: str, source_is_target: bool, target_is_output: bool) -> None:
    model = build_seq2seq(replace(TINY, tie=tie))
    target = model.target_embedding.table.weight
    assert (model.source_embedding.table.weight is target) is source_is_target
    assert (model.head.weight is target) is target_is_output


@pytest.mark.parametrize("positions", ["sine", "learned"])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_word_sees_the_words_before_it_and_none_after(positions: str, pre_norm: bool) -> None:
    model = build_seq2seq(replace(TINY, positions=positions, pre_norm=pre_norm)).eval()
    source, target = sentences(), sentences(5)
    logits = model(source, target).logits
    changed = target.clone()
    changed[:, 3] = torch.where(target[:, 3] == 5, 6, 5)
    other = model(source, changed).logits
    torch.testing.assert_close(other[:, :3], logits[:, :3])
    assert (other[:, 3:] - logits[:, 3:]).abs().amax((1, 2)).min() > 1e-3


def test_padding_changes_nothing() -> None:
    model = build_seq2seq(TINY).eval()
    source, target = sentences(), sentences(5)
    padded = torch.cat((source, torch.full((3, 4), 7)), dim=1)
    valid = (torch.arange(10) < 6).expand(3, -1)
    torch.testing.assert_close(model(padded, target, valid).logits, model(source, target).logits)


def test_only_the_words_asked_for_are_predicted() -> None:
    model = build_seq2seq(TINY).eval()
    source, target = sentences(), sentences(5)
    ask = torch.arange(5) < torch.tensor([[5], [2], [4]])
    some, every = model(source, target, ask=ask).logits, model(source, target).logits
    assert some.shape == (11, 19)
    torch.testing.assert_close(some, every[ask])


def test_embeddings_are_scaled_and_positions_are_not() -> None:
    model = build_seq2seq(TINY).eval()
    ids = torch.tensor([[4, 4]])
    words = model.source_embedding(ids, model.source_positions(2))
    torch.testing.assert_close(words[0], 4 * model.source_embedding.table.weight[ids[0]] + model.source_positions(2))
    torch.testing.assert_close(model.source_positions(1, 3)[0], model.source_positions(4)[3])


def test_embeddings_may_be_normalised() -> None:
    model = build_seq2seq(replace(TINY, norm_embedding=True)).eval()
    words = model.source_embedding(sentences(), model.source_positions(6))
    torch.testing.assert_close(words.mean(-1), torch.zeros(3, 6), atol=1e-5, rtol=0)
    assert "target_embedding.norm.weight" in model.state_dict()


def test_a_sentence_beyond_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="13 tokens, but the model has 12"):
        build_seq2seq(TINY).encode(sentences(13))


def test_pre_norm_ends_with_a_norm_and_post_norm_does_not() -> None:
    norms = {"encoder.norm.weight", "decoder.norm.weight"}
    assert norms <= set(build_seq2seq(replace(TINY, pre_norm=True)).state_dict())
    assert not norms & set(build_seq2seq(TINY).state_dict())
    assert norms <= set(build_seq2seq(replace(TINY, final_norm=True)).state_dict())


def test_fresh_weights_know_nothing() -> None:
    """The first loss is about the logarithm of the vocabulary, whatever is tied."""
    for tie in ("none", "all"):
        model = build_seq2seq(replace(TINY, tie=tie, dim=64)).eval()
        logits = model(sentences(), sentences(5)).logits
        assert 0.3 < logits.std() < 3


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"dim": 15}, "dim = 15"),
        ({"num_heads": 3}, "num_heads = 3"),
        ({"decoder_num_heads": 5}, "decoder_num_heads = 5"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout = -0.1"),
        ({"decoder_layers": 0}, "decoder_layers = 0"),
        ({"max_positions": 0}, "max_positions = 0"),
        ({"tie": "all", "target_vocab": 20}, "source_vocab = 19 and target_vocab = 20"),
        ({"eos_id": 19}, "eos_id = 19 is not within"),
        ({"pad_id": 18, "source_vocab": 18, "tie": "none"}, "pad_id = 18"),
        ({"banned_ids": (0, 2)}, "no sentence would ever end"),
        ({"banned_ids": (30,)}, "banned_ids"),
    ],
)
def test_numbers_that_make_no_model_are_named(numbers: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        replace(TINY, **numbers)


@pytest.mark.parametrize("name", ["activation", "positions", "sine_layout", "tie"])
def test_words_that_make_no_model_are_named(name: str) -> None:
    config = replace(TINY)
    object.__setattr__(config, name, "other")  # the tests' type checks would refuse it sooner
    with pytest.raises(ValueError, match=f"{name} = 'other' is none of "):
        config.__post_init__()


def test_the_papers_sizes() -> None:
    """Table 3: 65 million parameters for base, 213 million for big, with a shared vocabulary of about 37,000."""
    for name, millions in (("transformer-base", 65), ("transformer-big", 213)):
        config = replace(SEQ2SEQ_VARIANTS[name], source_vocab=37_000, target_vocab=37_000, tie="all")
        with torch.device("meta"):
            model = build_seq2seq(config)
        table = 37_000 * config.dim
        others = sum(p.numel() for key, p in model.named_parameters() if "table" not in key and "head" not in key)
        assert abs(table + others - millions * 1e6) < 0.04 * millions * 1e6
