"""What a run records about its machine."""

import json
import subprocess

import torch

from sleuth.training.environment import describe_environment


def test_it_is_json_and_names_versions_and_machine():
    found = json.loads(json.dumps(describe_environment(torch.device("cpu"), processes=2)))
    assert found["versions"]["torch"] == torch.__version__.split("+")[0] or found["versions"]["torch"]
    assert (found["device"], found["processes"]) == ("cpu", 2)
    assert found["threads"] == torch.get_num_threads()
    assert found["processor"]


def test_commit_of_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_environment(torch.device("cpu"))["git_commit"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run(["git", "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    commit = describe_environment(torch.device("cpu"))["git_commit"]
    assert len(commit) == 40
    (tmp_path / "file").write_text("2")
    assert describe_environment(torch.device("cpu"))["git_commit"] == commit + "+"
