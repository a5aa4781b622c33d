"""Pairs of sentences from files: every form, and every fault with file and line."""

import gzip
import json

import pytest

from sleuth.data.text.open import is_text, open_text, parse_languages, read_text, text_splits
from sleuth.data.text.readers import read_json_lines, read_pair_files, read_tab_file
from sleuth.errors import UserError

EN, DE = ["A man.", "Two dogs."], ["Ein Mann.", "Zwei Hunde."]


def write(path, lines, *, packed=False, ending="\n"):
    content = "".join(line + ending for line in lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val", "test_2016_flickr"):
        write(tmp_path / f"{split}.en.gz", EN, packed=True)
        write(tmp_path / f"{split}.de", DE)
    (tmp_path / "README.md").write_text("not a language")
    (tmp_path / "classes.txt").write_text("not a language either")
    return tmp_path


def test_a_folder_of_splits(folder):
    assert is_text(folder)
    assert text_splits(folder) == ("train", "val", "test_2016_flickr")
    pairs = open_text(folder, "val", ("de", "en"))
    assert (pairs.sources, pairs.targets) == (DE, EN)
    assert pairs.languages == ("de", "en")
    sample = pairs.load(1)
    assert (sample.source, sample.target) == ("Zwei Hunde.", "Two dogs.")
    assert sample.name == f"{folder / 'val.de'}, line 2"
    assert not pairs.endless
    assert len(pairs.first(1)) == 1
    assert pairs.select([1]).load(0) == sample


def test_languages_have_to_be_said_where_there_are_several(folder):
    with pytest.raises(UserError, match=r"several languages: de, en\. .*--languages"):
        open_text(folder, "train")
    with pytest.raises(UserError, match=r"there is no language 'fr'\. there are: de, en"):
        open_text(folder, "train", ("en", "fr"))
    with pytest.raises(UserError, match="several splits"):
        open_text(folder, None, ("en", "de"))
    with pytest.raises(UserError, match="no split 'test'"):
        open_text(folder, "test", ("en", "de"))


def test_source_and_target_by_name(tmp_path):
    write(tmp_path / "train.src", EN)
    write(tmp_path / "train.tgt", DE)
    assert open_text(tmp_path).targets == DE


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_end_where_they_end(tmp_path, packed, ending):
    odd = ["one\u2028two", " spaced ", "\x0b and \x85", "", "last"]
    source = write(tmp_path / "a", odd, packed=packed, ending=ending)
    target = tmp_path / "b"
    target.write_bytes(b"\xef\xbb\xbf" + "\n".join(odd).encode())  # a byte order mark, and no last line end
    pairs = read_pair_files(source, target).pairs
    assert pairs.sources == pairs.targets == odd


def test_tabs(tmp_path):
    path = write(tmp_path / "train.tsv", ["A man.\tEin Mann.\t0.9", "Two dogs.\tZwei Hunde."])
    assert is_text(path)
    assert (open_text(path).sources, open_text(path).targets) == (EN, DE)
    headed = write(tmp_path / "val.tsv", ["id\tde\ten", "1\tEin Mann.\tA man.", "2\tZwei Hunde.\tTwo dogs."])
    assert open_text(headed, languages=("en", "de")).targets == DE
    assert text_splits(tmp_path) == ("train", "val")
    broken = read_tab_file(write(tmp_path / "x.tsv", ["a\tb", "alone"]))
    assert [(fault.kind, fault.file, fault.what) for fault in broken.faults] == [
        ("unreadable-pair", f"{tmp_path / 'x.tsv'}, line 2", "1 column, not source, tab, target")
    ]
    assert len(broken.pairs) == 1


def test_json_lines(tmp_path):
    rows = [
        {"source": "A man.", "target": "Ein Mann."},
        {"translation": {"en": "Two dogs.", "de": "Zwei Hunde."}},
        {"en": "No.", "de": 3},
        "text",
    ]
    path = write(tmp_path / "train.jsonl.gz", [*map(json.dumps, rows), "{", ""], packed=True)
    assert is_text(path)
    read = read_json_lines(path, ("en", "de"))
    assert (read.pairs.sources, read.pairs.targets, list(read.pairs.lines)) == (EN, DE, [1, 2])
    assert [fault.file.split()[-1] for fault in read.faults] == ["3", "4", "5"]
    with pytest.raises(UserError, match=r"line 3: no texts en and de \(and 2 more such lines\)"):
        open_text(path, languages=("en", "de"))
    assert len(open_text(path, languages=("en", "de"), skip_faulty=True)) == 2
    unnamed = write(tmp_path / "val.jsonl", [json.dumps(rows[1])])
    with pytest.raises(UserError, match="say which is the source"):
        open_text(unnamed)


def test_files_of_different_lengths_name_both_counts(tmp_path):
    write(tmp_path / "train.en", [*EN, "Three."])
    write(tmp_path / "train.de", DE)
    for skip in (False, True):
        with pytest.raises(UserError, match=r"train\.en: 3 lines, but .*train\.de has 2"):
            open_text(tmp_path, "train", ("en", "de"), skip_faulty=skip)


def test_bytes_that_are_no_text_are_named_by_file_and_line(tmp_path):
    write(tmp_path / "train.en", EN)
    (tmp_path / "train.de").write_bytes(b"Ein Mann.\nZw\xf6lf Hunde.\n")
    with pytest.raises(UserError, match=r"train\.de, line 2: no UTF-8 from byte 3 of the line on\. save the file"):
        open_text(tmp_path, "train", ("en", "de"))
    assert open_text(tmp_path, "train", ("en", "de"), skip_faulty=True).targets == ["Ein Mann."]
    assert [fault.kind for fault in read_text(tmp_path, "train", ("en", "de")).faults] == ["undecodable-line"]


def test_files_that_cannot_be_read_at_all(tmp_path):
    good = write(tmp_path / "good", EN)
    for name, content, message in [
        ("empty", b"", "the file is empty"),
        ("blank", b"\n \n", "the file is empty"),
        ("cut.gz", gzip.compress(b"much text " * 1000)[:40], "the gzip file is damaged"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            read_pair_files(good, path)
    with pytest.raises(UserError, match="there is no such file"):
        read_pair_files(good, tmp_path / "absent")


def test_what_is_no_text(tmp_path):
    assert not is_text(tmp_path)
    assert not is_text(tmp_path / "absent")
    for name in ("a.jpg", "a.xml", "a.txt", "data.yaml", "model.pt", "instances.json"):
        (tmp_path / name).write_text("x")
    assert not is_text(tmp_path)
    assert not is_text(tmp_path / "instances.json")
    with pytest.raises(UserError, match="no pairs of sentences here"):
        text_splits(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        text_splits(tmp_path / "absent")
    with pytest.raises(UserError, match="not of the form source-target"):
        parse_languages("en")


def test_multi30k_is_read_as_it_is(shared_data):
    folder = shared_data("multi30k")
    assert text_splits(folder) == ("train", "val", "test_2016_flickr", "test_2017_flickr")
    assert len(open_text(folder, "train", ("en", "de"))) == 29_000
    test = open_text(folder, "test_2016_flickr", ("en", "de"))
    assert len(test) == 1000
    assert test.sources[0] == "A man in an orange hat starring at something."
    assert test.targets[0] == "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."
