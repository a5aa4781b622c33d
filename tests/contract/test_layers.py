"""Imports go one way: the layers of pyproject.toml hold."""

from importlinter.cli import lint_imports


def test_layers_are_kept(capsys, monkeypatch, request) -> None:
    monkeypatch.chdir(request.config.rootpath)
    code = lint_imports(no_cache=True)
    assert code == 0, capsys.readouterr().out
