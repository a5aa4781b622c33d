"""Translation recipes and their work: the one training function learns words as it learns boxes."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sleuth.data.text.samples import TextPairs
from sleuth.errors import UserError
from sleuth.training.kinds import kind_of
from sleuth.training.train import train_work
from sleuth.training.translation_recipe import TranslationRecipe, translation_recipe
from sleuth.training.translation_work import TranslationWork
from sleuth.weights.translator import load_translator

QUIET = Console(quiet=True)
SIZES = {"dim": 32, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward_dim": 64, "dropout": 0.1}
PAIRS = [(f"{a} {b}", f"{b} {a}") for a in "abcdefgh" for b in "abcdefgh"]


def tables(**sections: dict) -> dict:
    usual = {
        "model": SIZES,
        "data": {"path": "pairs", "val": ""},
        "tokenizer": {"kind": "words"},
        "optimizer": {"batch_size": 200, "rate": 5e-3},
        "schedule": {"kind": "constant"},
        "run": {"steps": 6, "workers": 0, "device": "cpu", "log_every": 1, "checkpoint_every": 2},
    }
    return {name: usual.get(name, {}) | sections.get(name, {}) for name in {**usual, **sections}}


def recipe(**sections: dict) -> TranslationRecipe:
    return translation_recipe(tables(**sections), where="test")


def source() -> TextPairs:
    sources, targets = zip(*PAIRS, strict=True)
    return TextPairs(sources, targets, range(1, len(PAIRS) + 1), "pairs")


def test_a_resolved_recipe_reads_back_as_itself():
    made = recipe(decoding={"beams": 3}, loss={"smoothing": 0.0})
    assert translation_recipe(made.tables(), where="again") == made
    assert kind_of(made.tables()) == "translation"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"dimm": 3}}, "did you mean 'dim'"),
        ({"model": {"name": "transformer-smal"}}, "did you mean 'transformer-small'"),
        ({"model": {"source_vocab": 9}}, "comes from the vocabularies"),
        ({"model": {"dim": 33}}, "not a multiple"),
        ({"tokenizer": {"kind": "bits"}}, "tokenizer.kind"),
        ({"data": {"max_tokens": 1000}}, "more than model.max_positions"),
        ({"optimizer": {"batch_size": 0}}, "so many tokens"),
        ({"decoding": {"beams": 0}}, "beams = 0"),
        ({"augmentation": {"flip": True}}, "unknown section"),
    ],
)
def test_a_wrong_recipe_is_refused_in_a_line(sections: dict, message: str):
    with pytest.raises(UserError, match=message):
        recipe(**sections)


def test_training_learns_and_leaves_a_translator(tmp_path: Path):
    settings = recipe(run={"steps": 150, "log_every": 50, "checkpoint_every": 0}, model={"dropout": 0.0})
    result = train_work(TranslationWork(settings, source()), tmp_path / "run", console=QUIET)
    assert result.finished
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["parts"]["nll"] for line in lines if "loss" in line]
    assert losses[-1] < 0.5 * losses[0]
    assert all(line["tokens_per_s"] > 0 for line in lines if "loss" in line)
    loaded = load_translator(tmp_path / "run" / "best.safetensors")
    assert loaded.card.notes["step"] == 150
    assert (tmp_path / "run" / "recipe.toml").is_file()


def test_a_stopped_training_resumes_bit_for_bit(tmp_path: Path):
    whole = train_work(TranslationWork(recipe(), source()), tmp_path / "whole", console=QUIET)
    half = recipe(run={"steps": 3})
    train_work(TranslationWork(half, source()), tmp_path / "broken", console=QUIET)
    torch.manual_seed(99)
    resumed = train_work(TranslationWork(recipe(), source()), tmp_path / "broken", resume=True, console=QUIET)
    assert whole.step == resumed.step == 6
    one, other = (load_translator(tmp_path / name / "last.safetensors").model for name in ("whole", "broken"))
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_training_starts_from_a_model_with_its_vocabularies(tmp_path: Path):
    train_work(TranslationWork(recipe(), source()), tmp_path / "first", console=QUIET)
    start = tmp_path / "first" / "best.safetensors"
    weights = {"model": {"weights": str(start)}} | {"tokenizer": {"kind": "characters"}}
    settings = translation_recipe(tables() | weights, where="test")
    work = TranslationWork(settings, source())
    model, remarks = work.assemble(resume=False)
    loaded = load_translator(start)
    assert work.vocabularies.source == loaded.source
    assert any("starts from" in remark for remark in remarks)
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_tied_sides_want_one_vocabulary():
    with pytest.raises(UserError, match="wants one vocabulary"):
        TranslationWork(recipe(tokenizer={"joint": False}, model={"tie": "all"}), source())
    work = TranslationWork(recipe(tokenizer={"joint": False}, model={"tie": "target_output"}), source())
    assert work.vocabularies.source is not work.vocabularies.target


def test_a_loss_that_is_not_finite_names_its_pairs(tmp_path: Path):
    work = TranslationWork(recipe(run={"max_bad_steps": 1, "steps": 2}), source())
    made = work.assemble

    def broken(*, resume: bool):
        model, remarks = made(resume=resume)
        model.head.weight.data[:] = float("nan")
        return model, remarks

    work.assemble = broken
    with pytest.raises(UserError, match=r"not finite in 1 steps in a row.*pairs, line"):
        train_work(work, tmp_path / "run", console=QUIET)
