"""What the README promises: its commands exist, the cheap ones run, and its Python does what it says."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from PIL import Image

from sleuth.cli.main import app, run
from sleuth.data.scenes import SceneConfig, SceneSource
from sleuth.data.scenes.export import write_coco
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.tasks.preprocess import Preprocess
from sleuth.weights.checkpoint import LoadedModel, detector_card
from sleuth.weights.origins.huggingface_export import write_folder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = ("sleuth", "uv run sleuth", "torchrun --nproc-per-node 8 -m sleuth")
TINY = """
    --set model.backbone=resnet10 --set model.backbone_width=8 --set model.dim=16
    --set model.num_heads=2 --set model.encoder_layers=1 --set model.decoder_layers=2 --set model.feedforward_dim=32
    --set run.evaluate_every=0 --set run.precision=32-true --steps 2 --batch-size 2 --workers 0 --scale 48 --device cpu
"""


def fenced(language: str) -> list[str]:
    """The blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Every call of the program, as its words after ``sleuth``; comments are left out."""
    found = []
    for line in "".join(fenced("sh")).splitlines():
        words = shlex.split(line, comments=True)
        for program in PROGRAMS:
            start = program.split()
            if words[: len(start)] == start:
                found.append(shlex.join(words[len(start) :]))
    return found


def parse(line: str) -> dict:
    """The values of a command's parameters; fails for an option that does not exist."""
    command, words, context = typer.main.get_command(app), shlex.split(line), None
    while hasattr(command, "commands"):
        context = command.make_context("sleuth", words[:1], parent=context, resilient_parsing=True)
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command.make_context(command.name, words, parent=context).params


@pytest.mark.parametrize("line", command_lines())
def test_every_command_parses(line: str):
    values = parse(line)
    recipe = values.get("recipe")
    assert recipe is None or (ROOT / recipe).is_file(), f"there is no {recipe}"


def test_the_readme_shows_every_command():
    shown = {" ".join(re.match(r"(data \w+|\w+)", line)[0].split()) for line in command_lines()}
    assert shown >= {"demo", "predict", "train", "evaluate", "trace", "data check", "data scenes"}


def test_two_commands_set_everything_up():
    first = fenced("sh")[0].split("\n")
    assert [line.partition("#")[0].strip() for line in first if line] == [
        "pip install uv",
        "uv run sleuth demo",
        "uv run pytest",
    ]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(target: str):
    assert (ROOT / target).exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder that has what the README's commands name: pictures, a data set, result files."""
    root = tmp_path_factory.mktemp("readme")
    config = SceneConfig(size_hw=(48, 64), max_objects=3, min_size=10, max_size=24)
    for split, count in (("train", 4), ("val", 2)):
        write_coco(root / "my-pictures" / split, count, split, 0, config)
    (root / "folder").mkdir()
    (root / "more").mkdir()
    for name in ("picture.jpg", "new.jpg", "folder/a.jpg", "more/b.png"):
        Image.fromarray(SceneSource("test", 1).render(0).image).save(root / name)
    val = root / "my-pictures" / "val" / "annotations.json"
    shutil.copy(val, root / "annotations.json")
    results = [
        {"image_id": entry["image_id"], "category_id": entry["category_id"], "bbox": entry["bbox"], "score": 0.9}
        for entry in json.loads(val.read_text())["annotations"]
    ]
    (root / "results.json").write_text(json.dumps(results))
    return root


def test_train_on_your_own_pictures_by_its_commands_alone(place: Path, monkeypatch, capsys):
    """The block of the README from the check to the prediction, in its order, with a short training."""
    monkeypatch.chdir(place)
    block = next(block for block in fenced("sh") if "data check" in block)
    lines = [shlex.split(line, comments=True)[3:] for line in block.splitlines()]
    assert [line[0] for line in lines] == ["data", "train", "evaluate", "predict"]
    lines[1] += TINY.split()
    for words in lines:
        assert run(words) == 0, capsys.readouterr().err
    for made in ("sheet-train.png", "runs/mine/curves.png", "report/scores.json", "found/new.jpg"):
        assert (place / made).is_file(), made


CHEAP = [line for line in command_lines() if line.startswith("predict picture.jpg") or "--ground-truth" in line]
FROM_THE_HUB = [line for line in CHEAP if "facebook/" in line]


@pytest.mark.parametrize("line", [line for line in CHEAP if line not in FROM_THE_HUB])
def test_cheap_commands_run(line: str, place: Path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert run(shlex.split(line)) == 0
    said = capsys.readouterr()
    if "--ground-truth" in line:
        assert json.loads(said.out)["scores"]["AP"] == 1


@pytest.mark.parametrize("line", FROM_THE_HUB)
def test_commands_for_the_hub_run(line: str, place: Path, hub, tmp_path: Path, monkeypatch):
    """With a small model under the published one's name, on a hub of our own."""
    import hub_server

    tiny = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward_dim": 32}
    config = DetrConfig(backbone="resnet10", backbone_width=8, num_classes=2, num_queries=5, **tiny)
    card = detector_card(config, names=("cat", "dog"), category_ids=(0, 1), preprocess=Preprocess(48, 80))
    upload = tmp_path / "upload"
    upload.mkdir()
    write_folder(upload, LoadedModel(build_detr(config).eval(), card))
    name = re.search(r"facebook/\S+", line)[0]
    hub.models[name] = hub_server.Model({file.name: file.read_bytes() for file in upload.iterdir()})
    monkeypatch.chdir(place)
    assert run(shlex.split(line)) == 0
    assert hub.downloads()


def test_the_json_example_has_the_shape_of_real_output(place: Path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (example,) = (json.loads(block) for block in fenced("json"))
    assert run(["predict", "picture.jpg", "--model", "detr-scenes", "--json", "-"]) == 0
    real = json.loads(capsys.readouterr().out)
    assert list(example[0]) == list(real[0])
    assert real[0]["detections"]
    assert list(example[0]["detections"][0]) == list(real[0]["detections"][0])


def test_the_python_runs(place: Path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    names: dict = {}
    for block in fenced("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert "circle" in names["detector"].names
    assert (place / "found.png").is_file()
    weights = names["maps"]["decoder.layers.2.self_attention"]
    assert weights.ndim == 4
    points = names["maps"]["decoder.layers.2.cross_attention"]
    assert points.locations.shape[:-1] == points.weights.shape
    assert capsys.readouterr().out


def test_the_error_example_is_what_is_said(capsys):
    (example,) = (block.strip() for block in fenced("text") if "sleuth: error:" in block)
    name = re.search(r"unknown model '(.+?)'", example)[1]
    assert run(["trace", "--model", name]) == 2
    assert capsys.readouterr().err.startswith(example)


def test_no_gaps_are_left_to_fill():
    """Words in capitals with an underscore stand for text that is still to be written."""
    assert re.findall(r"\b[A-Z]+_[A-Z]+\b", README.replace("OMP_NUM_THREADS", "")) == []
