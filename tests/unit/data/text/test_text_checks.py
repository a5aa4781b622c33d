"""Checks of text: each fault is found, with its line, and sound text has none."""

import json

import pytest
import typer

from sleuth.cli.data_check import run_check
from sleuth.data.text.checks import check_text, left_out
from sleuth.data.text.open import open_text
from sleuth.errors import UserError

GOOD = [(f"A man number {i} walks.", f"Ein Mann Nummer {i} geht spazieren.") for i in range(20)]


@pytest.fixture
def write(tmp_path):
    def write(split, pairs):
        (tmp_path / f"{split}.en").write_text("".join(source + "\n" for source, _ in pairs), encoding="utf-8")
        (tmp_path / f"{split}.de").write_text("".join(target + "\n" for _, target in pairs), encoding="utf-8")
        return tmp_path

    return write


def kinds(report) -> list[tuple[str, str]]:
    return [(fault.kind, fault.file.split()[-1]) for fault in report.faults]


def test_sound_text_has_no_faults(write):
    (report,) = check_text(write("train", GOOD), languages=("en", "de"))
    assert report.faults == ()
    assert (report.pairs, report.source.words, report.target.words) == (20, 100, 120)
    assert report.source.distinct_words == 24
    assert (report.target.mean_words, report.target.most_words) == (6.0, 6)
    assert "0 errors, 0 warnings, 0 notes (every line read)" in report.render()


def test_each_fault_is_named_by_line(write):
    pairs = [*GOOD, ("", "Leer."), ("Ja.", " "), ("word " * 201, "Wort " * 201), ("A.", "Ein Satz " * 12), GOOD[3]]
    (report,) = check_text(write("train", pairs), languages=("en", "de"))
    assert kinds(report) == [
        ("empty-line", "21"),
        ("empty-line", "22"),
        ("overlong-line", "23"),
        ("overlong-line", "23"),
        ("misaligned-line", "24"),
        ("duplicate-pair", "25"),
    ]
    assert report.errors == ()
    assert left_out(open_text(write("train", pairs), "train", ("en", "de"))) == [20, 21]
    page = json.loads(json.dumps(report.to_json()))
    assert page["faults"][0]["what"] == "source empty"
    assert page["target"]["language"] == "de"


def test_a_language_that_is_always_longer_is_not_misaligned(write):
    pairs = [(f"{i} yes, he does so.", f"{i} " + "dies ist auf diese Weise immer viel laenger " * 3) for i in range(9)]
    (report,) = check_text(write("train", pairs), languages=("en", "de"))
    assert report.faults == ()


def test_pairs_in_two_splits(write):
    write("train", GOOD)
    train, val = check_text(write("val", [("New.", "Neu."), GOOD[2]]), languages=("en", "de"))
    assert train.faults == ()
    assert kinds(val) == [("shared-pair", "2")]
    assert len(check_text(write("val", GOOD), "val", ("en", "de"))) == 1


def test_errors_come_first_and_end_with_code_1(write, capsys):
    folder = write("train", [("", "Leer."), *GOOD])
    with (folder / "train.de").open("ab") as file:
        file.write(b"\xff\n")
    words = {"annotations": "boxes", "languages": "en-de", "quick": False, "every": False, "as_json": False}
    with pytest.raises(typer.Exit) as ended:
        run_check(folder, None, None, None, None, **words)
    assert ended.value.exit_code == 1
    shown = capsys.readouterr()
    assert "files of different lengths: 1" in shown.out
    assert "21 lines, but" in shown.out
    assert "train.de, line 22: no UTF-8 from byte 1" in shown.out
    assert "2 errors would stop a training" in shown.err
    with pytest.raises(UserError, match="contact sheet shows pictures"):
        run_check(folder, None, None, None, folder / "sheet.png", **words)


def test_as_json(write, capsys):
    folder = write("train", GOOD)
    run_check(
        folder, None, None, None, None, annotations="boxes", languages="de-en", quick=False, every=True, as_json=True
    )
    (page,) = json.loads(capsys.readouterr().out)
    assert page["pairs"] == 20
    assert page["source"]["language"] == "de"
