"""Shared by all tests: runtime shape checks on, and real data found or skipped with a reason."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Every function and dataclass of sleuth has its shapes checked while the tests run.
install_import_hook("sleuth", "beartype.beartype")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test draws the same random numbers, whichever ran before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of outputs of the original implementations."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def shared_data():
    """A function from a data set's name to its folder; skips where real data is absent."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("SLEUTH_DATA", ROOT.parent / "shared" / "data")) / name
        if not folder.is_dir():
            pytest.skip(f"real data {name!r} is not here: set SLEUTH_DATA to the folder that holds it")
        return folder

    return find


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on 127.0.0.1, in place of the real one, that holds what is put into `hub.models`; its cache is empty."""
    from huggingface_hub import constants

    loader = importlib.util.spec_from_file_location("hub_server", ROOT / "tests" / "hub_server.py")
    server = importlib.util.module_from_spec(loader)
    sys.modules["hub_server"] = server
    loader.loader.exec_module(server)
    running = server.Hub()
    for name, value in {
        "ENDPOINT": running.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{running.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_CACHE": str(tmp_path / "hub-cache"),
        "HF_HUB_OFFLINE": False,
        "DOWNLOAD_CHUNK_SIZE": 1024,
    }.items():
        monkeypatch.setattr(constants, name, value)
    yield running
    running.stop()
