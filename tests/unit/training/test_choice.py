"""What is chosen for somebody's pictures and machine, and why."""

from dataclasses import replace

import pytest

from sleuth.data.transforms import Augmentation
from sleuth.tasks.preprocess import Preprocess
from sleuth.training.choice import Choice, choose
from sleuth.training.facts import DataFacts
from sleuth.training.machine import Machine
from sleuth.training.recipe import recipe_from_tables

CELLS = DataFacts(
    pictures=205,
    size_hw=(480, 640),
    small_share=0.15,
    most_objects=28,
    mean_objects=12.0,
    class_counts=(("red", 2000), ("white", 200), ("platelet", 180)),
)
CPU = Machine(cores=2, memory=16 * 2**30, fast_bf16=True)
GPU = Machine(cores=16, memory=64 * 2**30, gpu_memory=24 * 2**30, fast_bf16=True)


def chosen(machine: Machine = CPU, **facts) -> Choice:
    return choose(replace(CELLS, **facts), machine)


def test_blood_cells_on_a_processor():
    choice = chosen()
    assert (choice.name, choice.fit, choice.shortest, choice.longest) == ("sleuth-n", (256, 320), 240, 320)
    assert (choice.batch_size, choice.num_queries, choice.epochs) == (8, 50, 147)
    assert choice.run["precision"] == "bf16-mixed"
    assert choice.reasons[1] == (
        "pictures of 480x640 are seen at 240x320 pixels: quick without a GPU, small objects are still 42 pixels wide"
    )
    assert choice.warnings == ()


@pytest.mark.parametrize(
    ("pictures", "gib", "name"),
    [
        (100_000, None, "sleuth-n"),
        (100_000, 4, "sleuth-n"),
        (499, 24, "sleuth-s"),
        (500, 24, "sleuth-m"),
        (20_000, 80, "sleuth-m"),
        (20_001, 80, "sleuth-l"),
    ],
)
def test_the_model_by_machine_and_pictures(pictures: int, gib: int | None, name: str):
    machine = CPU if gib is None else replace(GPU, gpu_memory=gib * 2**30)
    choice = chosen(machine, pictures=pictures)
    assert choice.name == name
    assert choice.reasons[0].startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("facts", "sides", "fit"),
    [
        ({"size_hw": (640, 480)}, (240, 320), (320, 256)),
        ({"turned_share": 0.3}, (240, 320), (320, 320)),
        ({"size_hw": (100, 120)}, (100, 120), (128, 128)),
        ({"size_hw": (2000, 2000)}, (288, 288), (288, 288)),
        # Ten pixels for objects of a fiftieth; no more than four times as many pixels for smaller ones.
        ({"size_hw": (3000, 4000), "small_share": 0.02}, (432, 576), (448, 576)),
        ({"size_hw": (3000, 4000), "small_share": 0.005}, (504, 672), (512, 672)),
        ({"size_hw": (300, 400), "small_share": 0.005}, (300, 400), (320, 416)),
        ({"size_hw": (1080, 1920), "tiled": True}, (1080, 1920), (1088, 1920)),
        ({"size_hw": (1, 1), "small_share": 1.0}, (1, 1), (32, 32)),
        ({"size_hw": (20, 400)}, (20, 400), (32, 416)),
    ],
)
def test_the_size_of_pictures(facts: dict, sides: tuple[int, int], fit: tuple[int, int]):
    choice = chosen(**facts)
    assert (choice.shortest, choice.longest) == sides
    assert choice.fit == fit


def test_small_objects_that_stay_small_are_told():
    assert "tiles (--tile)" in chosen(size_hw=(3000, 4000), small_share=0.005).reasons[1]
    assert "so that small objects are 10 pixels" in chosen(size_hw=(3000, 4000), small_share=0.02).reasons[1]


def test_a_gpu_sees_more():
    choice = chosen(GPU, size_hw=(1200, 1600))
    assert (choice.shortest, choice.longest) == (552, 736)
    assert choice.batch_size == 16


@pytest.mark.parametrize("size_hw", [(480, 640), (640, 480), (1000, 1000), (600, 1000)])
@pytest.mark.parametrize("turned", [0.0, 0.4])
def test_prediction_sees_the_median_picture_as_training_does(size_hw: tuple[int, int], turned: float):
    choice = chosen(size_hw=size_hw, turned_share=turned)
    trained = Preprocess(resize="within", size_hw=choice.fit).size_for(size_hw)
    predicted = Preprocess(shortest=choice.shortest, longest=choice.longest).size_for(size_hw)
    assert predicted == pytest.approx(trained, rel=0.12)
    assert max(predicted) == pytest.approx(max(trained), rel=0.03)


def test_a_side_that_was_asked_for():
    choice = choose(CELLS, CPU, shortest=96, batch_size=3)
    assert (choice.shortest, choice.longest, choice.fit, choice.batch_size) == (96, 128, (96, 128), 3)
    long = choose(replace(CELLS, size_hw=(20, 400)), CPU, shortest=48)
    assert (long.shortest, long.longest) == (48, 80), "as `--scale` does for any model"


def test_the_batch_fits_memory_and_data():
    assert chosen(replace(CPU, memory=2**29)).batch_size == 2
    assert chosen(replace(CPU, memory=2**20)).batch_size == 2
    assert chosen(pictures=20).batch_size == 4
    assert chosen(pictures=1).batch_size == 4
    assert chosen(replace(GPU, gpu_memory=8 * 2**30), pictures=1000).batch_size < 16


@pytest.mark.parametrize(
    ("machine", "pictures", "epochs"),
    [
        *((CPU, 1, 300), (CPU, 100, 300), (CPU, 300, 100), (CPU, 1000, 60), (CPU, 4000, 15), (CPU, 118_000, 12)),
        *((GPU, 100, 500), (GPU, 1000, 100), (GPU, 118_000, 60)),
    ],
)
def test_how_often_pictures_are_seen(machine: Machine, pictures: int, epochs: int):
    assert chosen(machine, pictures=pictures).epochs == epochs


def test_queries_for_the_fullest_picture():
    assert chosen(most_objects=100).num_queries == 150


def test_queries_for_mosaics_too():
    seen = []
    choice = choose(CELLS, CPU, objects_with=lambda table: seen.append(table) or 67)
    assert seen == [choice.augmentation]
    assert choice.num_queries == 70
    said = (
        "70 queries: the fullest picture has 28 objects, of training pictures, with mosaics, 1 in 100 has more than 67"
    )
    assert choice.reasons[2] == said
    assert choose(CELLS, CPU, objects_with=lambda table: 50).reasons[2] == chosen().reasons[2]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"pictures": 49}, "49 pictures: too few"),
        ({"class_counts": (("cell", 900), ("none", 0))}, "a single class, 'cell'"),
        ({"class_counts": (("cat", 900), ("dog", 3), ("cow", 0))}, "are hardly learned: 'dog' 3"),
        ({"class_counts": tuple((f"c{n}", n + 1) for n in range(9))}, "'c4' 5, ..."),
        ({"most_objects": 301}, "--tile 640"),
    ],
)
def test_what_is_warned_of(facts: dict, says: str):
    (warning,) = chosen(**facts).warnings
    assert says in warning


def test_it_makes_a_recipe():
    choice = chosen()
    tables = {
        "model": {"name": choice.name, "num_queries": choice.num_queries},
        "preprocess": choice.preprocess,
        "augmentation": dict(choice.augmentation),
        "optimizer": choice.optimizer,
        "schedule": choice.schedule,
        "run": choice.run | {"epochs": choice.epochs},
    }
    recipe = recipe_from_tables(tables, where="test")
    assert recipe.preprocess == Preprocess(shortest=240, longest=320)
    assert isinstance(recipe.augmentation, Augmentation)
    assert recipe.run.workers == 0
    assert recipe.optimizer.kind == "muon"


def test_the_optimiser_is_that_which_was_measured():
    small, large = chosen().optimizer, chosen(GPU).optimizer
    assert (small["kind"], small["rate"], small["backbone_rate"]) == ("muon", 4e-3, 4e-3)
    assert (large["kind"], large["rate"], large["backbone_rate"]) == ("adamw", 1e-3, 1e-3)


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (3, 0), (4, 1), (8, 2), (64, 4)])
def test_processes_that_prepare_data_beside_a_processor(cores: int, workers: int):
    assert chosen(replace(CPU, cores=cores)).run["workers"] == workers
