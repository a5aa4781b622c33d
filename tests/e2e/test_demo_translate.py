"""`sleuth demo translate`: numbers written out, decoded step by step, drawn and measured."""

from pathlib import Path

import pytest

from sleuth.weights import translators

TINY = ["dim=16", "num_heads=2", "encoder_layers=1", "decoder_layers=2", "feedforward_dim=32"]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Path:
    """A model that has seen a few numbers."""
    from sleuth.cli.main import run

    out = tmp_path_factory.mktemp("numbers") / "run"
    sets = [word for value in TINY for word in ("--set", f"model.{value}")]
    sets += ["--set", "tokenizer.kind=words", "--set", "run.evaluate_every=0", "--set", "decoding.max_length=12"]
    words = ["train", "--data", "numbers", "--model", "transformer-tiny", "--steps", "3", "--batch-size", "200"]
    assert run([*words, "--device", "cpu", "--workers", "0", *sets, "--out", str(out)]) == 0
    return out / "best.safetensors"


def test_it_translates_decodes_draws_and_measures(numbers: Path, cli, size_of, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(translators, "BUNDLED", {"numbers": numbers})
    said = cli("demo", "translate", "--out", tmp_path / "demo", "--scenes", 4)
    assert said.code == 0, said.err
    for words in (">>eng<<", ">>zho<<", ">>num<<", "step by step", "On 4 held-out numbers: exact match", "Try next"):
        assert words in said.out
    drawn = {path.name for path in (tmp_path / "demo").iterdir()}
    assert drawn <= {f"{way}.png" for way in WAYS}
    assert all(min(size_of(tmp_path / "demo" / name)) > 100 for name in drawn)
    assert said.err.startswith("done in")


WAYS = ("digits-to-english", "digits-to-chinese", "english-to-digits", "chinese-to-digits")


def test_what_it_cannot_show_is_said_in_one_line(cli, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(translators, "BUNDLED", {"numbers": tmp_path / "absent.safetensors"})
    for words, message in (
        (("translate",), "the bundled weights of 'numbers' are missing"),
        (("translate", "--scenes", 0), "0 numbers cannot be measured"),
        (("everything",), "nothing to show called 'everything'"),
    ):
        said = cli("demo", *words, "--out", tmp_path / "demo")
        assert said.code == 2
        assert message in said.err
        assert said.err.count("\n") == 1
    assert not (tmp_path / "demo").exists()


def test_only_numbers_are_shown_that_no_training_has_seen():
    from sleuth.cli.demo_translate import unseen_numbers
    from sleuth.data.text.numbers import split_of

    found = unseen_numbers(8)
    assert len(set(found)) == 8
    assert {split_of(number) for number in found} == {"test"}
    assert min(found) >= 1000
