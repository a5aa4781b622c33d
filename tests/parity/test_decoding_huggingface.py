"""Search beside Hugging Face's `generate`, word for word and score for score, with a Marian of the same weights."""

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, MarianConfig, MarianMTModel

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding import DecodingOptions, translate_ids

PAD, EOS, WORDS = 40, 0, 12
CONFIG = Seq2SeqConfig(
    source_vocab=41,
    target_vocab=41,
    dim=16,
    num_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    feedforward_dim=32,
    activation="silu",
    sine_layout="halves",
    max_positions=64,
    tie="all",
    output_bias=True,
    pad_id=PAD,
    bos_id=PAD,
    eos_id=EOS,
    banned_ids=(PAD,),
)
_NAMES = {"self_attention.": "self_attn.", "cross_attention.": "encoder_attn.", "feedforward.linear": "fc"}
_NORMS = {
    "encoder": {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"},
    "decoder": {"norm1": "self_attn_layer_norm", "norm2": "encoder_attn_layer_norm", "norm3": "final_layer_norm"},
}


def marian(ours: Seq2Seq) -> MarianMTModel:
    """Hugging Face's class with our weights."""
    peer = MarianMTModel(
        MarianConfig(
            vocab_size=CONFIG.target_vocab,
            d_model=CONFIG.dim,
            encoder_layers=CONFIG.encoder_layers,
            decoder_layers=CONFIG.decoder_layers,
            encoder_attention_heads=CONFIG.num_heads,
            decoder_attention_heads=CONFIG.num_heads,
            encoder_ffn_dim=CONFIG.feedforward_dim,
            decoder_ffn_dim=CONFIG.feedforward_dim,
            activation_function=CONFIG.activation,
            max_position_embeddings=CONFIG.max_positions,
            scale_embedding=True,
            pad_token_id=PAD,
            decoder_start_token_id=PAD,
            eos_token_id=EOS,
            forced_eos_token_id=EOS,
        )
    )
    table = ours.target_embedding.table.weight
    weights: dict[str, Tensor] = {"final_logits_bias": ours.head.bias[None], "model.shared.weight": table}
    for key, value in ours.state_dict().items():
        stack = key.split(".")[0]
        for mine, theirs in {**_NAMES, **_NORMS.get(stack, {})}.items():
            key = key.replace(mine, theirs)
        if stack in _NORMS:
            weights[f"model.{key}"] = value
    peer.load_state_dict(weights, strict=False)
    peer.generation_config = GenerationConfig()  # else what the settings leave open comes from the model's
    return peer.eval()


@pytest.fixture(scope="module")
def both() -> tuple[Seq2Seq, MarianMTModel]:
    torch.manual_seed(4)
    ours = build_seq2seq(CONFIG).eval()
    with torch.no_grad():
        ours.target_embedding.table.weight.mul_(2)
        ours.head.bias.normal_()
        ours.head.bias[EOS] = 4.0
    return ours, marian(ours)


def sentences() -> list[list[int]]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(1, PAD, (length,), generator=draw).tolist() for length in (9, 4, 7, 1, 12, 3)]


def generate(peer: MarianMTModel, options: DecodingOptions) -> tuple[list[list[int]], Tensor | None]:
    batch = sentences()
    longest = max(map(len, batch))
    ids = torch.tensor([words + [PAD] * (longest - len(words)) for words in batch])
    beam_search = {"length_penalty": options.length_penalty, "early_stopping": options.early_stopping}
    settings = GenerationConfig(
        num_beams=options.beams,
        num_return_sequences=options.n_best,
        max_new_tokens=options.max_length,
        min_new_tokens=options.min_length,
        no_repeat_ngram_size=options.no_repeat_ngram,
        repetition_penalty=options.repetition_penalty,
        bad_words_ids=[[PAD]],
        forced_eos_token_id=EOS if options.force_eos else None,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **(beam_search if options.beams > 1 else {}),
    )
    found = peer.generate(input_ids=ids, attention_mask=(ids != PAD).long(), generation_config=settings)
    words = [[word for word in row[1:] if word not in (EOS, PAD)] for row in found.sequences.tolist()]
    return words, found.sequences_scores if options.beams > 1 else None


RULES = [
    {},
    {"force_eos": True},
    {"min_length": 4},
    {"no_repeat_ngram": 2, "repetition_penalty": 1.3},
]


@pytest.mark.parametrize("rules", RULES)
def test_greedy_search(both: tuple[Seq2Seq, MarianMTModel], rules: dict[str, object]) -> None:
    ours, peer = both
    options = DecodingOptions(max_length=WORDS, **rules)
    expected, _ = generate(peer, options)
    assert [list(best.ids) for (best,) in translate_ids(ours, sentences(), options)] == expected


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize(("beams", "length_penalty"), [(2, 1.0), (5, 0.0), (5, 2.0), (3, -0.5)])
def test_beam_search(
    both: tuple[Seq2Seq, MarianMTModel],
    beams: int,
    length_penalty: float,
    early_stopping: bool | str,
    rules: dict[str, object],
) -> None:
    ours, peer = both
    options = DecodingOptions(
        beams=beams,
        n_best=beams,
        max_length=WORDS,
        penalty="power",
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        **rules,
    )
    words, scores = generate(peer, options)
    found = [one for hypotheses in translate_ids(ours, sentences(), options) for one in hypotheses]
    assert [list(one.ids) for one in found] == words
    torch.testing.assert_close(torch.tensor([one.score for one in found]), scores, atol=1e-4, rtol=1e-4)


def test_sentences_of_the_test_end_at_many_lengths(both: tuple[Seq2Seq, MarianMTModel]) -> None:
    found = translate_ids(both[0], sentences(), DecodingOptions(beams=5, n_best=5, max_length=WORDS))
    assert len({len(one.ids) for each in found for one in each}) > 4
    assert {one.finished for each in found for one in each} == {True, False}
