"""`sleuth predict`: pictures, folders, globs and videos in; JSON, annotated pictures and videos out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sleuth
from sleuth.data.scenes import SceneSource
from sleuth.data.scenes.classes import NAMES
from sleuth.geometry.boxes import pairwise_iou


@pytest.fixture(scope="module")
def model(make_model, tmp_path_factory) -> Path:
    """An untrained model: it answers differently wherever it looks."""
    ids = tuple(range(11, 11 + len(NAMES)))
    return make_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", names=tuple(NAMES), category_ids=ids)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of three sizes, one of them twice."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for name, size_hw in (("a", (40, 60)), ("b", (60, 40)), ("c", (40, 60)), ("d", (90, 91))):
        pixels = np.kron(rng.integers(0, 255, (size_hw[0] // 4 + 1, size_hw[1] // 4 + 1, 3)), np.ones((4, 4, 1)))
        Image.fromarray(pixels[: size_hw[0], : size_hw[1]].astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def pixels_of(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture.copy()


def boxes(entry: dict) -> torch.Tensor:
    xywh = torch.tensor([found["bbox"] for found in entry["detections"]]).reshape(-1, 4)
    return torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)


def test_folder_and_glob_give_their_pictures_in_order(pictures: Path, model: Path, cli):
    for source in (pictures, f"{pictures}/*"):
        said = cli("predict", source, "--model", model, "--threshold", "0", "--json", "-")
        assert said.code == 0
        assert [Path(entry["image"]).name for entry in said.json] == ["a.png", "b.png", "c.png", "d.png"]
        assert [(entry["width"], entry["height"]) for entry in said.json] == [(60, 40), (40, 60), (60, 40), (91, 90)]


def test_a_file_with_signs_of_a_glob_in_its_name(pictures: Path, model: Path, cli, tmp_path: Path):
    odd = tmp_path / "odd[1]*.png"
    shutil.copy(pictures / "a.png", odd)
    said = cli("predict", odd, "--model", model, "--json", "-")
    assert [entry["image"] for entry in said.json] == [str(odd)]


def test_what_else_is_in_the_run_changes_nothing(pictures: Path, model: Path, cli):
    """Pictures of several shapes, alone and together: no padding may show."""
    together = cli("predict", pictures, "--model", model, "--threshold", "0", "--json", "-", "--batch-size", "4").json
    for entry in together:
        (alone,) = cli("predict", entry["image"], "--model", model, "--threshold", "0", "--json", "-").json
        assert [found["label"] for found in alone["detections"]] == [found["label"] for found in entry["detections"]]
        scores = [[found["score"] for found in each["detections"]] for each in (alone, entry)]
        assert scores[0] == pytest.approx(scores[1], abs=2e-6)
        assert torch.allclose(boxes(alone), boxes(entry), atol=2e-3)


def test_a_threshold_keeps_just_the_scores_from_it_up(pictures: Path, model: Path, cli):
    every = cli("predict", pictures, "--model", model, "--threshold", "0", "--json", "-").json
    scores = sorted(found["score"] for entry in every for found in entry["detections"])
    middle = (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2
    kept = cli("predict", pictures, "--model", model, "--threshold", middle, "--json", "-").json
    for entry, few in zip(every, kept, strict=True):
        assert few["detections"] == [found for found in entry["detections"] if found["score"] >= middle]
    said = cli("predict", pictures, "--model", model, "--threshold", "1", "--json", "-")
    assert said.code == 0
    assert all(entry["detections"] == [] for entry in said.json)
    assert "lower --threshold" in said.err


def test_json_to_a_file_and_annotated_pictures(pictures: Path, model: Path, cli, size_of, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(pictures / "b.png", other / "a.png")
    words = ["predict", pictures / "a.png", other / "a.png", "--model", model, "--threshold", "0"]
    said = cli(*words, "--json", tmp_path / "found.json", "--out", tmp_path / "found")
    assert said.code == 0
    assert json.loads((tmp_path / "found.json").read_text()) == cli(*words, "--json", "-").json
    drawn = sorted((tmp_path / "found").iterdir())
    assert [path.name for path in drawn] == ["a-2.png", "a.png"], "two pictures of one name"
    assert [size_of(path) for path in drawn] == [(240, 360), (360, 240)], "tiny pictures are enlarged to be readable"


def test_without_out_and_json_pictures_go_to_a_folder_of_their_own(
    pictures: Path, model: Path, cli, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    said = cli("predict", pictures / "a.png", "--model", model)
    assert said.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["sleuth-found"]
    assert "a.png" in said.out
    monkeypatch.chdir(pictures)
    before = sorted(pictures.iterdir())
    assert cli("predict", "a.png", "--model", model, "--json", "-").code == 0
    assert sorted(pictures.iterdir()) == before


def test_a_picture_that_is_stored_turned(pictures: Path, model: Path, cli, size_of, tmp_path: Path):
    upright = pixels_of(pictures / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to show": stored the other way
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert size_of(tmp_path / "turned.png") == (40, 60)
    words = ["--model", model, "--threshold", "0", "--json", "-"]
    (turned,), (plain,) = (cli("predict", p, *words).json for p in (tmp_path / "turned.png", pictures / "a.png"))
    assert turned | {"image": plain["image"]} == plain
    drawn = cli("predict", tmp_path / "turned.png", "--model", model, "--out", tmp_path / "found")
    assert drawn.code == 0
    assert size_of(tmp_path / "found" / "turned.png") == (360, 240)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_other_kinds(mode: str, pictures: Path, model: Path, cli, tmp_path: Path):
    suffix = ".tif" if mode == "CMYK" else ".png"
    pixels_of(pictures / "a.png").convert(mode).save(tmp_path / f"other{suffix}")
    pixels_of(tmp_path / f"other{suffix}").convert("RGB").save(tmp_path / "rgb.png")
    words = ["--model", model, "--threshold", "0", "--json", "-"]
    (found,), (plain,) = (cli("predict", tmp_path / name, *words).json for name in (f"other{suffix}", "rgb.png"))
    assert found["detections"] == plain["detections"]


def test_boxes_are_in_pixels_of_the_original(cli, tmp_path: Path):
    """The bundled model on scenes shown three times as large: three times the boxes, and where the objects are."""
    source = SceneSource("test", 6)
    hits = objects = 0
    for index in range(6):
        sample = source.load(index)
        small = Image.fromarray(sample.image.movedim(0, -1).numpy())
        small.save(tmp_path / "small.png")
        small.resize((384, 384), Image.Resampling.NEAREST).save(tmp_path / "large.png")
        (one,), (three,) = (cli("predict", tmp_path / f"{size}.png", "--json", "-").json for size in ("small", "large"))
        assert (one["width"], three["width"]) == (128, 384)
        overlap = pairwise_iou(boxes(one), boxes(three) / 3)
        assert (overlap.amax(dim=1) > 0.8).float().mean() >= 0.75
        same = [NAMES.index(found["label"]) for found in one["detections"]]
        for label, box in zip(sample.labels.tolist(), sample.boxes_xyxy_px, strict=True):
            own = boxes(one)[[position for position, found in enumerate(same) if found == label]]
            hits += bool(len(own)) and bool(pairwise_iou(own, box[None]).amax() > 0.5)
            objects += 1
        assert all(found["category_id"] == NAMES.index(found["label"]) + 1 for found in one["detections"])
    assert hits / objects > 0.5


def test_the_program_and_the_library_answer_alike(pictures: Path, model: Path, cli):
    (entry,) = cli("predict", pictures / "a.png", "--model", model, "--threshold", "0.2", "--json", "-").json
    (found,) = sleuth.load(model).predict(pictures / "a.png", threshold=0.2)
    assert found.to_json() == entry


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Five frames, 64 x 48, ten a second; each is brighter than the last."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            pixels = np.full((48, 64, 3), 40 * number + 30, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_a_video_gives_frames_and_an_annotated_video(video: Path, pictures: Path, model: Path, cli, tmp_path: Path):
    import av

    words = ["predict", video, pictures / "a.png", "--model", model, "--threshold", "0"]
    said = cli(*words, "--json", "-", "--out", tmp_path / "found")
    assert said.code == 0, said.err
    entries = said.json
    assert [Path(entry["image"]).name for entry in entries] == [f"clip.mp4#{n}" for n in range(5)] + ["a.png"]
    assert {(entry["width"], entry["height"]) for entry in entries[:5]} == {(64, 48)}
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["a.png", "clip.mp4"]
    with av.open(str(tmp_path / "found" / "clip.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 10
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    assert np.ptp(frames[0].astype(int)) > 50, "nothing was drawn"


def test_a_video_is_never_in_memory_as_a_whole(video: Path, model: Path, monkeypatch):
    """The first answer comes before the last frame is decoded."""
    av = pytest.importorskip("av")
    decoded = []
    real = av.container.InputContainer.decode

    class Counting:
        def __init__(self, container):
            self.container = container

        def __enter__(self):
            self.container.__enter__()
            return self

        def __exit__(self, *rest):
            return self.container.__exit__(*rest)

        def __getattr__(self, name):
            return getattr(self.container, name)

        def decode(self, *args, **kwargs):
            for frame in real(self.container, *args, **kwargs):
                decoded.append(frame.pts)
                yield frame

    opened = av.open
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: Counting(opened(*args, **kwargs)))
    stream = stream_of(sleuth.load(model), video)
    assert next(stream).source.endswith("#0")
    assert len(decoded) < 5
    assert len(list(stream)) == 4
    assert len(decoded) == 5


def stream_of(detector, source: Path):
    from sleuth.runtime.sources import expand_sources, frames_of

    return detector.stream(frames_of(expand_sources(source)))


def test_a_video_that_is_cut_short_is_named_and_leaves_no_video(video: Path, model: Path, cli, tmp_path: Path):
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:300])
    said = cli("predict", tmp_path / "cut.mp4", "--model", model, "--out", tmp_path / "found")
    assert said.code == 2
    assert "cut.mp4" in said.err
    assert len(said.err.splitlines()) == 1
    assert not [path for path in (tmp_path / "found").rglob("*") if path.is_file()]
