"""Hugging Face's own Marian with random weights, its tokenizers trained on a little text, saved as the hub has it."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

ENGLISH = (
    "The cat sat on the mat.",
    "A dog ran to the red house, and then it slept.",
    "One bird and two fish swim in the sea",
    "Where is the station? It is there!",
    "We were at home when the rain began to fall on the roof of the old house",
    "Good morning",
)
GERMAN = (
    "Die Katze saß auf der Matte.",
    "Ein Hund lief zum roten Haus, und dann schlief er.",
    "Ein Vogel und zwei Fische schwimmen im Meer",
    "Wo ist der Bahnhof? Er ist dort!",
    "Wir waren zu Hause, als der Regen auf das Dach des alten Hauses zu fallen begann",
    "Guten Morgen",
)
PREFIXES = (">>deu<<", ">>fra<<")
SMALL: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "activation_function": "swish",
    "scale_embedding": True,
    "max_position_embeddings": 64,
}
KINDS: dict[str, dict[str, Any]] = {
    "one vocabulary": {},
    "two vocabularies": {
        "share_encoder_decoder_embeddings": False,
        "encoder_layers": 1,
        "decoder_layers": 3,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 40,
    },
    "unscaled, relu": {"scale_embedding": False, "activation_function": "relu", "decoder_layers": 1},
}


def train_spm(lines: Iterable[str], size: int) -> bytes:
    """A sentencepiece model, as Marian has one a side."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, minloglevel=2, hard_vocab_limit=False
    )
    return model.getvalue()


def pieces_of(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]


def marian_ids(pieces: Iterable[str]) -> dict[str, int]:
    """Ids in Marian's order: the end first, padding last."""
    return {piece: number for number, piece in enumerate(["</s>", "<unk>", *dict.fromkeys(pieces), "<pad>"])}


def save_tokenizer(folder: Path, *, separate: bool) -> tuple[dict[str, int], dict[str, int]]:
    """Tokenizers as the hub's Marian has them; returns the ids of pieces of both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    source, target = train_spm(ENGLISH, 60), train_spm(GERMAN, 60)
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    if separate:
        ids, target_ids = marian_ids(pieces_of(source)), marian_ids(pieces_of(target))
        # One id of padding goes for both sides, so the shorter vocabulary is filled up.
        size = max(len(ids), len(target_ids)) - 1
        for side in (ids, target_ids):
            del side["<pad>"]
            side.update({f"filler{number}": number for number in range(len(side), size)})
            side["<pad>"] = size
        (folder / "target_vocab.json").write_text(json.dumps(target_ids), encoding="utf-8")
    else:
        ids = target_ids = marian_ids([*pieces_of(source), *pieces_of(target), *PREFIXES])
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    tokenizer = MarianTokenizer(
        str(folder / "source.spm"),
        str(folder / "target.spm"),
        str(folder / "vocab.json"),
        target_vocab_file=str(folder / "target_vocab.json") if separate else None,
        separate_vocabs=separate,
        model_max_length=64,
    )
    tokenizer.save_pretrained(folder)
    return ids, target_ids


def _teach(model: MarianMTModel, folder: Path, steps: int) -> None:
    """A little training, so that what is written depends on the sentence and ends by itself."""
    tokenizer = MarianTokenizer.from_pretrained(folder)
    batch = tokenizer(list(ENGLISH), text_target=list(GERMAN), return_tensors="pt", padding=True)
    labels = batch["labels"].masked_fill(batch["labels"] == tokenizer.pad_token_id, -100)
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch["input_ids"], batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()


def save_marian(folder: Path, options: dict[str, Any], *, steps: int = 70) -> MarianMTModel:
    """A model of theirs in a folder: random weights and a little training; no norm is the identity."""
    torch.manual_seed(0)
    separate = not options.get("share_encoder_decoder_embeddings", True)
    ids, target_ids = save_tokenizer(folder, separate=separate)
    pad = target_ids["<pad>"]
    config = MarianConfig(
        **(SMALL | options),
        vocab_size=len(ids),
        decoder_vocab_size=len(target_ids),
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
    )
    model = MarianMTModel(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "embed_positions" in name:
                continue
            if "norm" in name and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
            else:
                tensor.normal_(std=0.2)
    _teach(model, folder, steps)
    banned = [[pad], *([target_ids[prefix]] for prefix in PREFIXES if prefix in target_ids)]
    model.generation_config.update(
        num_beams=4,
        max_length=32,
        bad_words_ids=banned,
        forced_eos_token_id=0,
        eos_token_id=0,
        pad_token_id=pad,
        decoder_start_token_id=pad,
    )
    model.save_pretrained(folder)
    return model
