"""How the words of `sleuth train` change the tables of a recipe, whatever it trains."""

import pytest

from sleuth.cli.train_classification import tables_for_classes, with_class_words
from sleuth.cli.train_translation import tables_for_text, with_text_words
from sleuth.cli.train_words import (
    TrainWords,
    refuse,
    section,
    set_last,
    set_model,
    set_values,
    usual_run,
    what_is_taken,
)
from sleuth.errors import UserError
from sleuth.training.machine import Machine


def test_only_what_was_said_is_set():
    tables = {"optimizer": {"rate": 0.1, "clip": 1.0}}
    set_values(
        tables, TrainWords(rate=0.2, freeze="backbone, encoder,"), ("data", "languages", None), ("lora", "rank", 4)
    )
    assert tables == {
        "optimizer": {"rate": 0.2, "clip": 1.0},
        "model": {"freeze": ["backbone", "encoder"]},
        "lora": {"rank": 4},
    }


def test_set_has_the_last_word():
    tables = {"run": {"epochs": 40, "evaluate_every": 2}}
    set_last(tables, TrainWords(steps=100, overrides=("run.steps=7",)))
    assert tables["run"] == {"steps": 7, "evaluate_every": 5}


def test_a_section_that_is_no_table_is_left_to_whoever_reads_the_recipe():
    tables = {"run": 3}
    set_values(tables, TrainWords(seed=1))
    assert tables == {"run": 3}
    assert section(tables, "data") is tables["data"]


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (TrainWords(model="known"), {"weights": "known"}),
        (TrainWords(model="known", scratch=True), {"name": "known"}),
        (TrainWords(model="size"), {"name": "size", "weights": "old"}),
        (TrainWords(model="size", weights="new"), {"name": "size", "weights": "new"}),
        (TrainWords(weights="new"), {"name": "before", "weights": "new"}),
        (TrainWords(), {"name": "before", "weights": "old"}),
    ],
)
def test_what_a_training_starts_from(words: TrainWords, model: dict[str, str]):
    found = {"name": "before", "weights": "old"}
    set_model(found, words, lambda name: name == "known")
    assert found == model


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (TrainWords(model="known", weights="new"), "both --model and --weights"),
        (TrainWords(scratch=True), "--scratch takes"),
        (TrainWords(model="size", scratch=True, weights="new"), "--scratch takes"),
    ],
)
def test_words_that_contradict_each_other(words: TrainWords, said: str):
    with pytest.raises(UserError, match=said):
        set_model({}, words, lambda name: name == "known")


def test_useless_words_are_refused_as_they_were_said():
    with pytest.raises(UserError, match="--tile-overlap is of pictures") as fault:
        refuse(TrainWords(tile_overlap=0.3), ("tile", "tile_overlap"), "is of pictures")
    assert "leave it out" in str(fault.value)


def test_scratch_wants_an_architecture_of_the_kind():
    for change in (with_text_words, with_class_words):
        with pytest.raises(UserError, match="--scratch takes an architecture by its name, and 'numbers' is none"):
            change({}, TrainWords(model="numbers", scratch=True))


def test_weights_alone_bring_their_own_sizes():
    """A size by name beside them would have to be theirs."""
    text = TrainWords(data="numbers", weights="old.safetensors")
    said: list[str] = []
    assert with_text_words(tables_for_text(text, said.append), text)["model"] == {
        "dropout": 0.3,
        "weights": "old.safetensors",
    }
    classes = TrainWords(data="digits", weights="old.safetensors")
    model = with_class_words(tables_for_classes(classes, said.append), classes)["model"]
    assert model == {"drop_path": 0.1, "weights": "old.safetensors"}
    assert said[0] == "old.safetensors: 30 epochs of 100,000 pairs, 4,096 tokens in a step"
    assert said[1].startswith("old.safetensors: 200 epochs of 1,442 pictures, 128 in a step, ")


@pytest.mark.parametrize(
    ("pictures", "gpu", "epochs"), [(100, None, 200), (1000, None, 20), (50_000, None, 5), (50_000, 2**34, 10)]
)
def test_a_processor_learns_for_about_an_hour(pictures: int, gpu: int | None, epochs: int):
    machine = Machine(cores=2, memory=2**34, gpu_memory=gpu, fast_bf16=gpu is not None)
    run = usual_run(pictures, machine, shown=100_000, shown_by_cpu=20_000)
    assert run["epochs"] == epochs
    assert run["precision"] == ("32-true" if gpu is None else "bf16-mixed")


def test_what_is_taken_is_said_as_the_words_change_it():
    tables = {"run": {"epochs": 7, "evaluate_every": 1, "precision": "32-true"}, "optimizer": {"batch_size": 8}}
    assert what_is_taken("m", tables, TrainWords(), "1,234 pictures") == (
        "m: 7 epochs of 1,234 pictures, 8 in a step, 32-true"
    )
    words = TrainWords(minutes=2.5, batch_size=4)
    assert what_is_taken("m", tables, words, "9 pictures") == "m: 2.5 minutes of 9 pictures, 4 in a step, 32-true"
    assert tables["run"]["epochs"] == 7, "it only looks"
