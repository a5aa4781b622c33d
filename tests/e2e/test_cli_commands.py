"""The other commands: models, trace, demo, data scenes, evaluate on files and layer by layer."""

import json
from pathlib import Path

import pytest

from sleuth.data.scenes.classes import NAMES
from sleuth.weights.catalog import CATALOG


@pytest.fixture(scope="module")
def model(make_model, tmp_path_factory, scenes: Path) -> Path:
    """An untrained model of the classes and ids of the COCO data set."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    return make_model(path, names=tuple(NAMES), category_ids=tuple(range(5, 5 + 3 * len(NAMES), 3)))


def test_models_lists_what_can_be_loaded(cli, hub):
    said = cli("models")
    assert said.code == 0
    assert all(name in said.out for name in (*CATALOG, "facebook/detr-resnet-50", "facebook/detr-resnet-101-panoptic"))
    listed = {entry["name"]: entry for entry in cli("models", "--json").json}
    assert set(CATALOG) < set(listed)
    assert listed["detr-r50"]["config"]["num_queries"] == 100
    assert listed["transformer-base"]["config"]["dim"] == 512
    assert listed["transformer-base"]["task"] == listed["Helsinki-NLP/opus-mt-en-de"]["task"] == "translation"
    assert listed["detr-r50"]["weights"] is False
    assert listed["detr-scenes"]["place"] == "bundled"
    resnet = listed["facebook/detr-resnet-50"]
    assert resnet["scores"] == {"box AP": 42.0}
    assert resnet["licence"] == "Apache-2.0"
    assert (resnet["place"], resnet["on_this_machine"]) == ("not yet", False)
    assert not hub.asked, "the list needs no network"


def test_models_tells_what_is_on_this_machine(cli, hub, tmp_path: Path):
    folder = tmp_path / "hub-cache" / "models--facebook--detr-resnet-50"
    snapshot = folder / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("1" * 40)
    (snapshot / "config.json").touch()
    place = {entry["name"]: entry["place"] for entry in cli("models", "--json").json}
    assert place["facebook/detr-resnet-50"] == "not yet", "half of it"
    (snapshot / "model.safetensors").touch()
    place = {entry["name"]: entry["place"] for entry in cli("models", "--json").json}
    assert place["facebook/detr-resnet-50"] == "cached"
    assert place["facebook/detr-resnet-101"] == "not yet"


def test_models_writes_a_page_about_each(cli, tmp_path: Path):
    assert cli("models", "--docs", tmp_path / "pages").code == 0
    page = (tmp_path / "pages" / "facebook-detr-resnet-50.md").read_text()
    assert "box AP 42" in page
    assert "41,524,768" in page


def test_trace_shows_the_shapes_of_the_paper_model(cli):
    """800 pixels high, 600 wide, through DETR-R50: the flow that the documentation shows."""
    said = cli("trace", "--model", "detr-r50", "--size", "800x600", "--json")
    assert said.code == 0
    steps = {step["name"]: step for step in said.json["steps"]}
    shapes = {name: step["shape"] for name, step in steps.items()}
    assert list(shapes.items()) == [
        ("image", [1, 3, 800, 600]),
        ("feature map", [1, 2048, 25, 19]),
        ("projection", [1, 256, 25, 19]),
        ("sequence", [1, 475, 256]),
        ("positions", [1, 475, 256]),
        ("memory", [1, 475, 256]),
        ("queries", [1, 100, 256]),
        ("decoder states", [6, 1, 100, 256]),
        ("class logits", [1, 100, 92]),
        ("boxes", [1, 100, 4]),
    ]
    assert said.json["parameters"] == pytest.approx(41.3e6, rel=0.01)  # the paper says 41 M
    assert steps["projection"]["parameters"] == 2048 * 256 + 256
    assert steps["projection"]["flops"] == 2 * 2048 * 256 * 25 * 19
    assert said.json["flops"] == sum(step["flops"] for step in steps.values())
    assert said.json["parameters"] == sum(step["parameters"] for step in steps.values())


def test_trace_prints_a_table_of_a_trained_model(cli, model: Path):
    said = cli("trace", "--model", model, "--size", "64x96")
    assert said.code == 0
    for words in ("feature map", "class logits", "[1, 8, 16]", "[1, 8, 4]"):
        assert words.replace(" ", "") in said.out.replace(" ", "")
    lines = cli("trace", "--model", model, "--size", "64x96", "--layers").out
    assert "decoder layer 1" in lines
    assert "encoder layer 0" in lines or "encoder layer 1" in lines


def test_demo_finds_measures_and_draws(cli, size_of, tmp_path: Path):
    said = cli("demo", "--scenes", "6", "--out", tmp_path / "demo")
    assert said.code == 0, said.err
    for words in ("AP50", "class logits", "held-out", "sleuth predict", "sleuth train"):
        assert words in said.out
    drawn = sorted((tmp_path / "demo").glob("*.png"))
    assert len(drawn) >= 7
    assert all(min(size_of(path)) >= 128 for path in drawn)
    plain = tmp_path / "demo" / "plain-1.png"
    (found,) = cli("predict", plain, "--json", "-").json
    assert found["width"] == 128, "what the demo proposes next works"


def test_the_bundled_model_finds_most_objects(cli):
    said = cli("evaluate", "--model", "detr-scenes", "--data", "scenes", "--limit", "20", "--json")
    assert said.code == 0
    assert said.json["pictures"] == 20
    assert said.json["scores"]["AP50"] > 0.5


def test_scenes_are_a_coco_data_set(cli, size_of, tmp_path: Path):
    said = cli("data", "scenes", "--out", tmp_path / "s", "--count", "3", "--split", "val", "--size", "48x64")
    assert said.code == 0
    assert sorted(path.name for path in (tmp_path / "s" / "images").iterdir()) == [f"00000{n}.png" for n in (1, 2, 3)]
    assert size_of(tmp_path / "s" / "images" / "000001.png") == (64, 48)
    (report,) = cli("data", "check", tmp_path / "s", "--json").json
    assert (report["pictures"], report["format"]) == (3, "coco")
    again = cli("data", "scenes", "--out", tmp_path / "t", "--count", "3", "--split", "val", "--size", "48x64")
    assert again.code == 0
    one, other = (tmp_path / name / "annotations.json" for name in ("s", "t"))
    assert one.read_bytes() == other.read_bytes()


def test_a_result_file_scores_as_the_model_that_wrote_it(cli, model: Path, coco_data: Path, tmp_path: Path):
    by_model = cli("evaluate", "--model", model, "--data", coco_data, "--out", tmp_path / "r", "--json").json
    results = json.loads((tmp_path / "r" / "predictions.json").read_text())
    assert {entry["category_id"] for entry in results} <= set(range(5, 50, 3)), "the data set's own ids"
    truth = coco_data / "annotations" / "instances_val.json"
    words = ["evaluate", "--ground-truth", truth, "--predictions", tmp_path / "r" / "predictions.json"]
    by_files = cli(*words, "--json").json
    assert by_files["scores"] == pytest.approx(by_model["scores"], abs=1e-9)
    said = cli(*words, "--out", tmp_path / "again")
    assert said.code == 0
    assert "AP50" in said.out
    assert (tmp_path / "again" / "confusion.png").is_file()


def test_layers_are_measured_one_by_one(cli, size_of, model: Path, coco_data: Path, tmp_path: Path):
    said = cli("evaluate", "--model", model, "--data", coco_data, "--layers", "--out", tmp_path, "--json")
    assert said.code == 0
    rows = said.json["layers"]["layers"]
    assert [row["layer"] for row in rows] == [1, 2]
    assert {"ap", "ap_nms", "ap50", "ap50_nms"} <= set(rows[0])
    assert rows[-1]["ap"] == pytest.approx(said.json["scores"]["AP"])
    assert len((tmp_path / "layers.csv").read_text().splitlines()) == 3
    assert min(size_of(tmp_path / "layers.png")) > 100
    assert "after NMS" in cli("evaluate", "--model", model, "--data", coco_data, "--layers").out


def test_classes_are_matched_by_name(cli, make_model, coco_data: Path, tmp_path: Path):
    """A model with one class more, in another order, is measured on the classes that both have."""
    names = ("unicorn", *reversed(NAMES))
    said = cli(
        "evaluate", "--model", make_model(tmp_path / "m.safetensors", names=names), "--data", coco_data, "--json"
    )
    assert said.code == 0
    assert [entry["name"] for entry in said.json["per_class"]] == list(NAMES)
    assert said.json["predictions_of_unknown_class"] == 24 - said.json["predictions"]


def test_check_ends_with_code_one_for_what_would_stop_a_training(cli, coco_data: Path, tmp_path: Path):
    import shutil

    shutil.copytree(coco_data, tmp_path / "data")
    (tmp_path / "data" / "train" / "000001.png").unlink()
    said = cli("data", "check", tmp_path / "data")
    assert said.code == 1
    assert "000001.png" in said.out
    assert "missing" in said.out
    report = cli("data", "check", tmp_path / "data", "--json", "--split", "train").json[0]
    assert any(fault["kind"] == "missing-picture" for fault in report["faults"])


def test_trace_shows_a_classifier(cli):
    said = cli("trace", "--model", "vit-digits", "--json")
    assert said.code == 0, said.err
    steps = {step["name"]: step["shape"] for step in said.json["steps"]}
    assert (steps["patches"], steps["sequence"], steps["logits"]) == ([1, 16, 12], [1, 17, 64], [1, 10])
    said = cli("trace", "--model", "vit-digits", "--size", "1x9")
    assert said.code == 2
    assert "a picture of 1x9 pixels is smaller than a patch of 2x2" in said.err


def test_trace_shows_a_segmenter(cli):
    said = cli("trace", "--model", "segmenter-street", "--size", "32x48", "--json")
    assert said.code == 0, said.err
    steps = {step["name"]: step["shape"] for step in said.json["steps"]}
    assert (steps["image"], steps["queries"][:2], steps["logits"][2:]) == ([1, 3, 32, 48], [1, 2], [4, 6])
    assert said.json["flops"] == sum(step["flops"] for step in said.json["steps"] if not step["detail"])


def test_trace_shows_training_and_decoding_of_the_paper_translator(cli):
    """12 source and 10 target words through the base model, whose parameters are the paper's but for its vocabulary."""
    said = cli("trace", "--model", "transformer-base", "--size", "12x10", "--json")
    assert said.code == 0, said.err
    shapes = {step["name"]: step["shape"] for step in said.json["steps"]}
    assert shapes["memory"] == [1, 12, 512]
    assert shapes["states"] == [1, 10, 512]
    assert shapes["logits"] == [1, 10, 8000]
    steps = {step["name"]: step["shape"] for step in said.json["decoding"]["steps"]}
    assert steps["keys, values of it"] == [6, 2, 1, 12, 512]
    assert [steps[f"step {number}"] for number in (1, 10)] == [[6, 2, 1, 1, 512], [6, 2, 1, 10, 512]]
    # Table 3 of the paper: 65 million with one table of some 37,000 words, where this has two of 8,000.
    assert said.json["parameters"] - 2 * 8000 * 512 + 37_000 * 512 == pytest.approx(65e6, rel=0.04)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "transformer-tiny", "--size", "12"), "not a size of text"),
        (("--model", "transformer-tiny", "--size", "0x5"), "out of range"),
        (("--model", "transformer-tiny", "--size", "5x513"), "give 1 to 512 words"),
        (
            (
                "--model",
                "transformer-smal",
            ),
            "unknown model 'transformer-smal'",
        ),
    ],
)
def test_trace_of_text_refuses_in_one_line(cli, words: tuple[str, ...], message: str):
    said = cli("trace", *words)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["numbers", "transformer-base"])
def test_translators_are_refused_where_objects_are_asked_for(cli, coco_data: Path, name: str):
    said = cli("predict", coco_data / "val", "--model", name)
    assert said.code == 2
    assert f"{name!r} translates text" in said.err
    assert said.err.count("\n") == 1
