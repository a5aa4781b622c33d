"""`sleuth --help` answers at once: no heavy library is imported for it."""

import json
import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "numpy", "timm", "matplotlib", "sklearn", "scipy", "lightning_fabric", "PIL", "av")
PROBE = """
import json, sys
from sleuth.cli.main import run
code = run({words!r})
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["data", "check", "--help"], ["--version"], ["trian"]]
)
def test_help_imports_nothing_heavy(words: list[str]):
    ended = subprocess.run(
        [sys.executable, "-c", PROBE.format(words=words, heavy=HEAVY)], capture_output=True, text=True, check=True
    )
    code, heavy = json.loads(ended.stderr.splitlines()[-1])
    assert code == (2 if words == ["trian"] else 0)
    assert heavy == []


def test_help_takes_less_than_half_a_second():
    """Of computing: how long a busy machine makes a program wait is not the program's."""

    def computing() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(3):
        before = computing()
        subprocess.run([sys.executable, "-m", "sleuth", "--help"], capture_output=True, check=True)
        times.append(computing() - before)
    assert min(times) < 0.5


def test_the_library_imports_nothing_heavy_until_asked():
    code = f"import sys, sleuth; print([name for name in {HEAVY!r} if name in sys.modules], sleuth.__version__)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("[] ")


def test_the_public_names():
    import tomllib
    from pathlib import Path

    import sleuth

    assert {"Detections", "Predictor", "UserError", "load"} <= set(dir(sleuth))
    assert all(getattr(sleuth, name) is not None for name in sleuth.__all__)
    with pytest.raises(AttributeError, match="no attribute 'detect'"):
        _ = sleuth.detect
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert sleuth.__version__ == project["version"]
