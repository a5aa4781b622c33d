"""Hugging Face's Marian: their model in our code and ours in theirs give the same words, greedy and by beam search."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent))
from marian_models import ENGLISH, KINDS, PREFIXES, save_marian
from transformers import AutoTokenizer, MarianMTModel, MarianTokenizer

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.decoding.translate import translate_ids
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.weights.origins.marian_huggingface import MarianFolder, open_marian_folder
from sleuth.weights.origins.marian_huggingface_export import write_marian_folder


class Case:
    """One model, as theirs and as ours."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.theirs = save_marian(folder, KINDS[kind])
        self.tokenizer = MarianTokenizer.from_pretrained(folder)
        self.ours: MarianFolder = open_marian_folder(folder)
        shared = self.theirs.config.share_encoder_decoder_embeddings
        self.texts = [f"{PREFIXES[1]} {text}" if shared and i % 2 else text for i, text in enumerate(ENGLISH)]


@pytest.fixture(scope="module", params=KINDS)
def case(request, tmp_path_factory) -> Iterator[Case]:
    return Case(tmp_path_factory.mktemp("marian"), request.param)


def their_words(model: MarianMTModel, tokenizer, texts: list[str], **options) -> list[list[int]]:
    """Generated ids of each text, without what decoding starts from, the end and padding."""
    with torch.no_grad():
        found = model.generate(**tokenizer(texts, return_tensors="pt", padding=True), **options).tolist()
    end = model.config.eos_token_id
    return [row[1 : row.index(end, 1) if end in row[1:] else None] for row in found]


def our_words(model: Seq2Seq, source: Tokenizer, texts: list[str], options: DecodingOptions) -> list[list[int]]:
    found = translate_ids(model, [source.encode(text) for text in texts], options)
    return [list(hypotheses[0].ids) for hypotheses in found]


def logits(model: Seq2Seq, source: list[int], target: list[int]) -> Tensor:
    with torch.no_grad():
        return model(torch.tensor([source]), torch.tensor([[model.config.bos_id, *target]])).logits[0]


def test_text_is_cut_and_joined_alike(case: Case) -> None:
    for text in case.texts:
        assert case.ours.source.encode(text) == case.tokenizer(text)["input_ids"]
    assert case.ours.source.encode("") == case.tokenizer("")["input_ids"]
    words = torch.randint(0, case.ours.model.config.target_vocab, (8, 20))
    words[torch.isin(words, torch.tensor(case.ours.model.config.banned_ids))] = 5
    for row in words.tolist():
        assert case.ours.target.decode(row) == case.tokenizer.decode(row, skip_special_tokens=True)


def test_logits(case: Case) -> None:
    source = case.ours.source.encode(ENGLISH[1])
    target = torch.randint(2, case.ours.model.config.target_vocab - 1, (9,)).tolist()
    ids = torch.tensor([[case.ours.model.config.bos_id, *target]])
    with torch.no_grad():
        theirs = case.theirs(torch.tensor([source]), decoder_input_ids=ids).logits[0]
    torch.testing.assert_close(logits(case.ours.model, source, target), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {"num_beams": 4, "early_stopping": False},
        {"num_beams": 4, "early_stopping": True},
        {"num_beams": 3, "length_penalty": 0.3, "renormalize_logits": True},
        {"num_beams": 2, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "min_length": 6},
    ],
    ids=str,
)
def test_the_same_words(case: Case, options: dict) -> None:
    asked = json.loads((case.folder / "generation_config.json").read_text(encoding="utf-8"))
    path = case.folder / "generation_config.json"
    path.write_text(json.dumps(asked | options), encoding="utf-8")
    try:
        ours = replace(case.ours, options=open_marian_folder(case.folder).options)
    finally:
        path.write_text(json.dumps(asked), encoding="utf-8")
    assert ours.options.beams == options["num_beams"]
    theirs = their_words(case.theirs, case.tokenizer, case.texts, **options)
    found = our_words(ours.model, ours.source, case.texts, ours.options)
    assert found == theirs
    assert len({len(row) for row in found}) > 1  # they end by themselves
    written = [case.tokenizer.decode(row, skip_special_tokens=True) for row in theirs]
    assert [ours.target.decode(row) for row in found] == written


def test_a_pickle_of_weights_with_tables_of_positions(case: Case, tmp_path: Path) -> None:
    for file in case.folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(case.theirs.state_dict(), tmp_path / "pytorch_model.bin")
    again = open_marian_folder(tmp_path).model.state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in case.ours.model.state_dict().items())
    odd = case.theirs.state_dict()
    odd["model.encoder.embed_positions.weight"] = torch.zeros_like(odd["model.encoder.embed_positions.weight"])
    torch.save(odd, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="does not hold the sines of 64 positions"):
        open_marian_folder(tmp_path)


def test_back_to_a_folder_of_theirs(case: Case, tmp_path: Path) -> None:
    ours = case.ours
    write_marian_folder(tmp_path, ours.model, ours.source, ours.target, options=ours.options)
    theirs, tokenizer = MarianMTModel.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for key, tensor in case.theirs.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[key], tensor, atol=0, rtol=0)
    assert their_words(theirs.eval(), tokenizer, case.texts) == their_words(case.theirs, case.tokenizer, case.texts)
    again = open_marian_folder(tmp_path)
    assert (again.model.config, again.options) == (ours.model.config, ours.options)


def test_an_unknown_prefix_is_told(case: Case) -> None:
    with pytest.raises(UserError, match=">>xyz<<"):
        case.ours.source.encode(">>xyz<< Good morning")


def teach(model: Seq2Seq, source: Tokenizer, target: Tokenizer, steps: int = 100) -> None:
    """A little training, so that what is written depends on the sentence; no norm and no bias is as it began."""
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias") or "norm" in key:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    pairs = [(torch.tensor([source.encode(text)]), torch.tensor([target.encode(text)])) for text in ENGLISH[:3]]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        words, wanted = pairs[step % len(pairs)]
        given = torch.cat((torch.full((1, 1), model.config.bos_id), wanted[:, :-1]), 1)
        optimizer.zero_grad()
        cross_entropy(model(words, given).logits[0], wanted[0]).backward()
        optimizer.step()


OWN = Seq2SeqConfig(dim=16, num_heads=2, encoder_layers=2, decoder_layers=1, feedforward_dim=24, max_positions=100)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bpe", {"tie": "all"}),
        ("characters", {"tie": "target_output", "activation": "gelu_tanh"}),
        ("unigram", {"tie": "all", "sine_layout": "halves", "output_bias": True}),
        ("unigram", {"tie": "target_output", "scale_embedding": False}),
    ],
)
def test_a_model_of_ours_in_their_library(tmp_path: Path, kind: str, changes: dict) -> None:
    """Trained here with sines and cosines in turn, say, it writes the same words there, text to text."""
    source = target = train_tokenizer(ENGLISH, kind, 60)
    if changes["tie"] != "all":
        target = train_tokenizer(ENGLISH[:3], kind, 50)
    # Unknown words, which both leave out or spell in their own ways, are not to be written.
    sizes = {"source_vocab": len(source), "target_vocab": len(target), "banned_ids": (0, 1, 3)}
    config = replace(OWN, **changes, **sizes)
    model = build_seq2seq(config).eval()
    teach(model, source, target)
    write_marian_folder(tmp_path, model, source, target, options=DecodingOptions(max_length=15))
    theirs = MarianMTModel.from_pretrained(tmp_path).eval()
    separate = (tmp_path / "source_tokenizer").is_dir()
    reads, writes = (
        AutoTokenizer.from_pretrained(tmp_path / side if separate else tmp_path)
        for side in ("source_tokenizer", "target_tokenizer")
    )
    texts = list(ENGLISH)
    found = our_words(model, source, texts, DecodingOptions(max_length=15))
    assert len({tuple(row) for row in found}) > 1
    assert their_words(theirs, reads, texts) == found
    written = [writes.decode(row, skip_special_tokens=True).strip() for row in found]
    assert written == [target.decode(row).strip() for row in found]
    again = open_marian_folder(tmp_path)
    assert our_words(again.model, again.source, texts, again.options) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_norm": True}, "it normalises before attention"),
        ({"positions": "learned"}, "its positions are learned"),
        ({"position_start": 1}, "its sine positions are not those of the paper"),
        ({"tie": "none"}, "its tables are tied otherwise"),
        ({"norm_embedding": True}, "it normalises embeddings"),
        ({"final_norm": True}, "its stacks end with a norm"),
    ],
)
def test_what_marian_cannot_express(tmp_path: Path, changes: dict, message: str) -> None:
    tokenizer = train_tokenizer(ENGLISH, "words", 60)
    config = replace(OWN, source_vocab=len(tokenizer), target_vocab=len(tokenizer), **changes)
    with pytest.raises(UserError, match=message):
        write_marian_folder(tmp_path, build_seq2seq(config), tokenizer, tokenizer)
