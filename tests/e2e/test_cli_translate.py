"""Translation as a person uses it: train, evaluate, translate files and pipes, and what is told of bad input."""

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sleuth

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
TINY = [
    "--set",
    "model.dim=32",
    "--set",
    "model.num_heads=2",
    "--set",
    "model.encoder_layers=1",
    "--set",
    "model.decoder_layers=1",
    "--set",
    "model.feedforward_dim=64",
    "--set",
    "run.log_every=5",
    "--batch-size",
    "300",
    "--device",
    "cpu",
    "--workers",
    "0",
]

KEPT = ["--set", "run.evaluate_every=6", "--set", "run.keep_checkpoints=2"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """A folder of sentences and the same ones backwards."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, step in (("train", 1), ("val", 7)):
        lines = [[WORDS[(i * step) % 8], WORDS[(i * 3 + step) % 8], WORDS[(i // 2) % 8]] for i in range(48)]
        (folder / f"{split}.en").write_text("".join(" ".join(line) + "\n" for line in lines))
        (folder / f"{split}.de").write_text("".join(" ".join(reversed(line)) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory) -> Path:
    """A run folder of a short training."""
    from sleuth.cli.main import run

    out = tmp_path_factory.mktemp("run") / "run"
    words = ["train", "--data", pairs, "--languages", "en-de", "--model", "transformer-tiny", "--steps", "12", *TINY]
    assert run([str(word) for word in [*words, "--out", out, *KEPT]]) == 0
    return out


def test_training_leaves_scores_samples_and_a_recipe_that_resumes(trained: Path, cli):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    scores = [line["scores"] for line in lines if "scores" in line]
    assert len(scores) == 2
    assert {"BLEU", "chrF", "exact"} <= scores[0].keys()
    sample = json.loads(next(iter(sorted((trained / "samples").glob("*.jsonl")))).read_text().splitlines()[0])
    assert sample.keys() == {"source", "reference", "translation"}
    said = cli("train", "--resume", "--out", trained)
    assert said.code == 0, said.err


def test_evaluation_prints_bleu_with_its_signature(trained: Path, pairs: Path, cli, tmp_path: Path):
    words = ("evaluate", "--model", trained, "--data", pairs, "--languages", "en-de", "--split", "val")
    said = cli(*words, "--beam", "2", "--out", tmp_path / "report")
    assert said.code == 0, said.err
    assert "BLEU" in said.out
    assert "tok:13a" in said.out
    assert any((tmp_path / "report").iterdir())
    assert 0 <= cli(*words, "--json").json["BLEU"] <= 100
    said = cli(*words, "--beam", 2, "--length-penalty", "nan")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "length_penalty = nan" in said.err


def test_the_checkpoints_that_were_kept_are_averaged(trained: Path, pairs: Path, cli, tmp_path: Path):
    assert [path.name for path in sorted((trained / "checkpoints").iterdir())] == [
        "step-00000006.safetensors",
        "step-00000012.safetensors",
    ]
    said = cli("average", trained, "--out", tmp_path / "mean.safetensors")
    assert said.code == 0, said.err
    assert "the mean of 2 models" in said.err
    assert cli("translate", "--model", tmp_path / "mean.safetensors", pairs / "val.en").code == 0
    for words, message in (
        (("--last", 1), "nothing to average"),
        (("--last", -1), "-1 is negative"),
        (("--out", tmp_path / "mean.bin"), "not the name of a model file"),
    ):
        said = cli("average", trained, "--out", tmp_path / "other.safetensors", *words)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert message in said.err


def test_a_file_is_translated_line_for_line(trained: Path, cli, tmp_path: Path):
    (tmp_path / "in.txt").write_text("one two three\n\nfour\n")
    said = cli("translate", tmp_path / "in.txt", "--model", trained, "--out", tmp_path / "out.txt")
    assert said.code == 0, said.err
    lines = (tmp_path / "out.txt").read_text().split("\n")
    assert len(lines) == 4
    assert lines[1] == lines[3] == ""
    assert cli("translate", tmp_path / "in.txt", "--model", trained).out.split("\n") == lines


def test_json_has_tokens_scores_and_alignment(trained: Path, cli, tmp_path: Path):
    (tmp_path / "in.txt").write_text("one two three\n\n")
    said = cli("translate", tmp_path / "in.txt", "--model", trained, "--n-best", 2, "--json", "--align")
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert [first["line"], second["line"]] == [1, 2]
    assert len(first["translations"]) == 2
    best = first["translations"][0]
    assert best["score"] >= first["translations"][1]["score"]
    assert len(best["tokens"]) <= len(best["token_scores"])
    assert best["alignment"]["source"] == ["one", "two", "three"]
    assert second["translations"][0]["text"] == ""


def test_a_pipe_is_answered_and_ends_quietly(trained: Path):
    words = [sys.executable, "-m", "sleuth", "translate", "--model", str(trained), "--stream"]
    done = subprocess.run(words, input="one two\n\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 2


def test_given_translations_are_scored(trained: Path, cli, tmp_path: Path):
    (tmp_path / "in.txt").write_text("one two\nthree\n")
    (tmp_path / "given.txt").write_text("two one\nthree\n")
    said = cli("translate", tmp_path / "in.txt", "--model", trained, "--score", tmp_path / "given.txt")
    assert all(float(line) < 0 for line in said.out.split())
    (tmp_path / "given.txt").write_text("two one\n")
    said = cli("translate", tmp_path / "in.txt", "--model", trained, "--score", tmp_path / "given.txt")
    assert said.code == 2
    assert "2 lines to translate, but 1 translations" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--beam", 0), "beams = 0"),
        (("--n-best", 3, "--beam", 2), "n_best = 3 is more"),
        (("--prefix", ">>fra<<"), "does not know this language prefix"),
        (("--long", "cut"), "--long cut"),
        (("--runtime", "onnx"), "--runtime onnx"),
        (("--stream", "--beam", 4), "--stream"),
        (("--temperature", 0, "--sample"), "temperature = 0"),
        (("--batch-size", 0), "--batch-size"),
    ],
)
def test_bad_words_end_in_one_line(trained: Path, cli, tmp_path: Path, words: tuple, message: str):
    (tmp_path / "in.txt").write_text("one\n")
    said = cli("translate", tmp_path / "in.txt", "--model", trained, *words)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_bad_files_end_in_one_line_and_leave_nothing(trained: Path, cli, tmp_path: Path):
    (tmp_path / "in.txt").write_bytes(b"one\ntw\xff\n")
    out = tmp_path / "out.txt"
    said = cli("translate", tmp_path / "in.txt", "--model", trained, "--out", out)
    assert said.code == 2
    assert "in.txt, line 2" in said.err
    assert not out.exists()
    (tmp_path / "long.txt").write_text("one " * 2000)
    said = cli("translate", tmp_path / "long.txt", "--model", trained, "--out", out)
    assert said.code == 2
    assert "line 1: it has 2002 tokens" in said.err
    assert not out.exists()
    assert cli("translate", tmp_path / "absent.txt", "--model", trained).code == 2
    assert "translates text" in cli("predict", tmp_path / "in.txt", "--model", trained).err
    said = cli("translate", tmp_path / "in.txt", "--model", "sleuth-scenes")
    assert said.code == 2


def test_standard_input_is_read(trained: Path, cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one two\r\n\n")))
    said = cli("translate", "--model", trained)
    assert said.code == 0, said.err
    assert said.out.count("\n") == 2


def test_a_trained_model_runs_elsewhere_with_the_same_words(trained: Path, cli, tmp_path: Path):
    (tmp_path / "in.txt").write_text("one two three\n\nfour five\n")
    words = ("translate", tmp_path / "in.txt", "--model", trained, "--beam", 1)
    ours = cli(*words)
    if importlib.util.find_spec("ctranslate2"):
        engine = cli(*words, "--runtime", "ctranslate2")
        assert (engine.code, engine.out) == (0, ours.out), engine.err
    said = cli("convert", trained, "--to", "ctranslate2", "--out", tmp_path / "ct2")
    assert said.code == 0, said.err
    assert (tmp_path / "ct2" / "model.bin").is_file()
    said = cli("convert", trained, "--to", "sleuth", "--out", tmp_path / "again.safetensors")
    assert said.code == 0, said.err
    assert cli("translate", tmp_path / "in.txt", "--model", tmp_path / "again.safetensors", "--beam", 1).out == ours.out
    said = cli("convert", trained, "--to", "original", "--out", tmp_path / "x")
    assert said.code == 2
    assert "no form of a translation model" in said.err


def test_a_model_goes_to_hugging_face_and_comes_back(pairs: Path, cli, tmp_path: Path):
    said = cli(
        *("train", "--data", pairs, "--languages", "en-de", "--model", "transformer-tiny", "--steps", 3, *TINY),
        *("--set", "model.pre_norm=false", "--set", "model.tie=all", "--out", tmp_path / "run"),
    )
    assert said.code == 0, said.err
    said = cli("convert", tmp_path / "run", "--to", "huggingface", "--out", tmp_path / "hf")
    assert said.code == 0, said.err
    (tmp_path / "in.txt").write_text("one two three\nfour five\n")
    words = ("translate", tmp_path / "in.txt", "--beam", 1, "--max-length", 20, "--model")
    assert cli(*words, tmp_path / "hf").out == cli(*words, tmp_path / "run").out


def test_alignments_are_drawn(trained: Path, cli, size_of, tmp_path: Path):
    (tmp_path / "in.txt").write_text("one two three\n\nfour\n")
    words = ("translate", tmp_path / "in.txt", "--model", trained, "--min-length", 2)
    said = cli(*words, "--plot", tmp_path / "pictures")
    assert said.code == 0, said.err
    assert said.out == cli(*words).out
    drawn = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in drawn] == ["line-01.png", "line-03.png"], "an empty line has none"
    assert all(min(size_of(path)) > 100 for path in drawn)
    assert "--plot" in cli(*words, "--plot", tmp_path / "pictures", "--stream").err


def test_the_package_loads_a_translator(trained: Path, cli, tmp_path: Path):
    translator = sleuth.load(trained, device="cpu")
    assert isinstance(translator, sleuth.Translator)
    (tmp_path / "in.txt").write_text("one two three\n")
    (found,) = translator.translate(["one two three"])
    assert found[0].text + "\n" == cli("translate", tmp_path / "in.txt", "--model", trained).out


def test_trace_of_a_trained_model(trained: Path, cli):
    said = cli("trace", "--model", trained, "--size", "4x3", "--json")
    assert said.code == 0, said.err
    steps = {step["name"]: step["shape"] for step in said.json["decoding"]["steps"]}
    assert steps["memory"] == [1, 4, 32]
    assert steps["step 3"] == [1, 2, 1, 3, 32]
