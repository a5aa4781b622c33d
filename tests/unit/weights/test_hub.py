"""Downloading from a hub on this machine: what arrives, what is kept, and everything that can go wrong."""

import json
import os
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from sleuth.errors import UserError, UserWarningLine
from sleuth.weights.hub import is_hub_name, is_on_this_machine, shards_of, shelf_of, snapshot

NAME = "someone/tiny-detr"
WEIGHTS = bytes(range(256)) * 40  # 10,240 bytes
FILES = {"config.json": b'{"model_type": "detr"}', "preprocessor_config.json": b"{}", "model.safetensors": WEIGHTS}


@pytest.fixture
def model(hub):
    import hub_server

    hub.models[NAME] = hub_server.Model(dict(FILES))
    return hub.models[NAME]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch) -> None:
    """huggingface_hub waits a second before it tries again."""
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def left_over(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "hub-cache").rglob("*partial*")]


def refused(name: str = NAME, **options) -> str:
    with pytest.raises(UserError) as caught:
        snapshot(name, **options)
    line = caught.value.line()
    assert len(line.splitlines()) == 1
    assert caught.value.mend
    return line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("facebook/detr-resnet-50", True),
        ("a/b", True),
        ("me/my.model_2@v1.0", True),
        ("me/model@refs/pr/3", True),
        ("detr-r50", False),
        ("./a/b", False),
        ("../a/b", False),
        ("/a/b", False),
        ("a/b/c", False),
        ("a/b/", False),
        ("a/b@", False),
        ("a b/c", False),
        ("a\\b", False),
        ("a/..", False),
        ("a/b--c", False),
        ("", False),
    ],
)
def test_names_of_the_hub(name: str, expected: bool) -> None:
    assert is_hub_name(name) == expected


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="organisation/model"):
        shelf_of("detr-r50")


def test_a_model_is_downloaded_once(hub, model, tmp_path) -> None:
    assert not is_on_this_machine(NAME)
    folder = snapshot(NAME)
    assert contents(folder) == FILES
    assert (tmp_path / "hub-cache") in folder.parents
    assert is_on_this_machine(NAME)
    assert hub.downloads().total() == 1
    hub.asked.clear()
    assert snapshot(NAME) == folder
    assert [method for method, _, _ in hub.asked] == ["HEAD"], "one question: is there something newer?"
    assert not left_over(tmp_path)


def test_huggingface_hub_finds_it_too(model) -> None:
    folder = snapshot(NAME)
    for file in FILES:
        found = file_download.hf_hub_download(NAME, file, local_files_only=True)
        assert Path(found) == folder / file


@pytest.mark.parametrize("how", ["offline", "no connection", "error 503", "no hub"])
def test_afterwards_no_network_is_needed(hub, model, monkeypatch, how: str) -> None:
    folder = snapshot(NAME)
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "no connection":
        hub.stop()
    elif how == "error 503":
        hub.status = 503
    else:
        hub.status = 204
    assert snapshot(NAME) == folder
    assert contents(folder) == FILES
    line = refused("someone/other")
    assert "'someone/other' is not on this machine, and the hub cannot be reached" in line
    assert refused(f"{NAME}@v2").startswith(f"the model '{NAME}@v2' is not on this machine")


def test_half_a_model_is_none_without_a_network(hub, model, monkeypatch) -> None:
    folder = snapshot(NAME)
    (folder / "model.safetensors").unlink()
    hub.stop()
    assert not is_on_this_machine(NAME)
    assert "not on this machine" in refused()


def test_revisions(hub, model) -> None:
    old = FILES | {"config.json": b'{"model_type": "old"}'}
    model.revisions |= {"v1": "2" * 40}
    model.older["2" * 40] = old
    assert contents(snapshot(NAME)) == FILES
    assert contents(snapshot(f"{NAME}@v1")) == old
    assert contents(snapshot(f"{NAME}@{'2' * 40}")) == old
    assert hub.downloads().total() == 1, "the same weights are kept once"
    assert "no revision 'v9'" in refused(f"{NAME}@v9")
    hub.stop()
    assert contents(snapshot(f"{NAME}@v1")) == old
    assert contents(snapshot(NAME)) == FILES


def test_a_new_version_is_taken(hub, model) -> None:
    snapshot(NAME)
    model.revisions["main"] = "3" * 40
    model.files["model.safetensors"] = WEIGHTS[::-1]
    assert contents(snapshot(NAME)) == FILES | {"model.safetensors": WEIGHTS[::-1]}


def test_a_new_version_that_broke_off_leaves_the_old_one(hub, model, monkeypatch) -> None:
    old = snapshot(NAME)
    model.revisions["main"] = "3" * 40
    model.files["model.safetensors"] = WEIGHTS[::-1]
    hub.cut_after = [0] * 20
    assert "broke off" in refused()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert snapshot(NAME) == old
    assert contents(old) == FILES


def test_a_broken_connection_is_taken_up_again(hub, model) -> None:
    hub.cut_after = [3000, 2000]
    assert contents(snapshot(NAME)) == FILES
    ranges = [wanted for method, path, wanted in hub.asked if method == "GET" and path.startswith("/large/")]
    # What came in whole kilobytes is kept.
    assert ranges == [None, "bytes=2048-", "bytes=3072-"]


def test_a_download_that_broke_off_goes_on_next_time(hub, model, tmp_path) -> None:
    hub.cut_after = [5000, *[0] * 10]
    line = refused()
    assert "the download of model.safetensors of someone/tiny-detr broke off" in line
    assert "goes on where it stopped" in line
    assert left_over(tmp_path)
    assert not list((tmp_path / "hub-cache").rglob("model.safetensors")), "never half-cached"
    assert not is_on_this_machine(NAME)
    hub.cut_after.clear()
    hub.asked.clear()
    assert contents(snapshot(NAME)) == FILES
    assert [wanted for _, path, wanted in hub.asked if path.startswith("/large/")] == ["bytes=4096-"]
    assert not left_over(tmp_path)


def test_the_connection_is_lost_between_two_files(hub, model) -> None:
    line = refused(check_config=lambda folder: hub.stop())
    assert "not on this machine, and the hub cannot be reached (there is no connection)" in line


def test_a_damaged_download_is_tried_again(hub, model) -> None:
    hub.spoil = 1
    assert contents(snapshot(NAME)) == FILES
    assert hub.downloads().total() == 2


def test_a_download_that_stays_damaged_is_refused(hub, model, tmp_path) -> None:
    hub.spoil = 2
    line = refused()
    assert "model.safetensors of someone/tiny-detr arrived damaged twice" in line
    assert not left_over(tmp_path)
    assert not is_on_this_machine(NAME)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_file_of_the_cache_is_named_and_mended(hub, model, monkeypatch, file: str) -> None:
    folder = snapshot(NAME)
    blob = (folder / file).resolve()
    blob.write_bytes(b"x" * len(FILES[file]))
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        line = refused()
        assert f"{file} of {NAME} is damaged" in line
        assert "with a network" in line
    with pytest.warns(UserWarningLine, match=f"{file} of {NAME} is damaged.*downloaded again"):
        assert contents(snapshot(NAME)) == FILES


def test_blobs_may_lie_in_a_store_of_all_models(hub, model, tmp_path) -> None:
    """Newer versions of huggingface_hub keep large files once for all caches, under another name."""
    folder = snapshot(NAME)
    blob, store = (folder / "model.safetensors").resolve(), tmp_path / "store" / ("a" * 64)
    store.parent.mkdir()
    blob.rename(store)
    blob.symlink_to(store)
    assert contents(snapshot(NAME)) == FILES
    assert hub.downloads().total() == 1
    store.write_bytes(b"broken")
    with pytest.warns(UserWarningLine, match="damaged"):
        assert contents(snapshot(NAME)) == FILES
    assert not blob.is_symlink()


def test_another_process_was_faster(hub, model, tmp_path) -> None:
    """A blob that lies there already, sound, is only linked."""
    import hashlib

    blob = tmp_path / "hub-cache" / "models--someone--tiny-detr" / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(WEIGHTS)
    assert contents(snapshot(NAME)) == FILES
    assert not hub.downloads()


def test_models_that_may_not_be_had(hub, model) -> None:
    model.gated = True
    line = refused()
    assert "'someone/tiny-detr' is gated" in line
    assert "hf auth login" in line
    line = refused("someone/nothing")
    assert "the hub knows no model 'someone/nothing', or it is private" in line
    for status, told in ((401, "access token"), (403, "access token"), (404, "knows no model"), (500, "error 500")):
        hub.status = status
        assert told in refused("someone/else")


def test_tokens_stay_with_the_hub(hub, model, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    snapshot(NAME)
    sent = {token for path, token in hub.tokens if not path.startswith("/large/")}
    assert sent == {"Bearer hf_secret"}
    assert {token for path, token in hub.tokens if path.startswith("/large/")} == {None}


def test_a_model_without_config_or_weights_is_refused(hub, model) -> None:
    del model.files["model.safetensors"]
    assert "holds no weights" in refused()
    model.files = {"model.safetensors": WEIGHTS}
    model.revisions["main"] = "4" * 40
    assert "holds no config.json" in refused()


def test_the_configuration_is_judged_before_the_weights_are_downloaded(hub, model) -> None:
    def judge(folder: Path) -> None:
        raise UserError("model_type 'bert'", mend="no")

    assert "bert" in refused(check_config=judge)
    assert not hub.downloads()


def test_pickles_only_where_there_is_nothing_better(hub, model) -> None:
    model.files["pytorch_model.bin"] = b"pickle"
    assert "pytorch_model.bin" not in contents(snapshot(NAME))
    del model.files["model.safetensors"]
    model.revisions["main"] = "5" * 40
    assert contents(snapshot(NAME))["pytorch_model.bin"] == b"pickle"


def test_shards(hub, model, monkeypatch) -> None:
    del model.files["model.safetensors"]
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}
    model.files["model.safetensors.index.json"] = json.dumps(index).encode()
    model.files["model-1.safetensors"] = b"one"
    assert "lacks model-2.safetensors" in refused()
    model.files["model-2.safetensors"] = b"two"
    folder = snapshot(NAME)
    assert contents(folder)["model-2.safetensors"] == b"two"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert snapshot(NAME) == folder
    (folder / "model-2.safetensors").unlink()
    assert "not on this machine" in refused()


@pytest.mark.parametrize("weight_map", [{"a": "../../secret"}, {"a": "/etc/passwd"}, {"a": 3}, [], None])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path, weight_map: object) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UserError, match=r"index\.json"):
        shards_of(index)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_full_disk(hub, model, tmp_path) -> None:
    import hashlib

    blobs = tmp_path / "hub-cache" / "models--someone--tiny-detr" / "blobs"
    blobs.mkdir(parents=True)
    partial = blobs / f"{hashlib.sha256(WEIGHTS).hexdigest()}.sleuth-partial"
    partial.symlink_to("/dev/full")
    line = refused()
    assert "cannot keep model.safetensors of someone/tiny-detr: no space left" in line
    assert "HF_HOME" in line
    assert not left_over(tmp_path)


def test_a_cache_that_cannot_be_written(hub, model, tmp_path) -> None:
    (tmp_path / "hub-cache").write_text("a file, not a folder")
    assert "cannot keep" in refused()
