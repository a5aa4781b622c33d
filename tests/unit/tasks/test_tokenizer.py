"""Tokenizers of every kind: nothing is lost, nothing is taken for a special token, and a card holds all of it."""

import json

import pytest

from sleuth.errors import UserError
from sleuth.tasks.tokenizer import Tokenizer
from sleuth.tasks.tokenizer_engines import HuggingFaceEngine, SentencepieceEngine
from sleuth.tasks.tokenizer_training import train_tokenizer, vocabulary_tokenizer

LINES = [
    "Ein kleines Mädchen klettert in ein Spielhaus aus Holz.",
    "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    "Ein Mann in einem blauen Hemd steht auf einer Leiter und putzt ein Fenster.",
    "Mehrere Männer mit Schutzhelmen bedienen ein Antriebsradsystem.",
    'A little girl climbing into a wooden playhouse, "her own" (12 of 34).',
    "A man's blue shirt; two young, White males -- outside near many bushes!",
    "Several men in hard hats are operating a giant pulley system?",
    "Größe, Übung, Äpfel und Öl: 5.607 km/h & 89 %",
    "</s> und <pad> sind hier Text <s> <unk> >",
    "1 < 2 / 2 > 1",
] * 3
KINDS = ("bpe", "unigram", "words", "characters")
TRICKY = [
    *LINES[:10],
    "  Ein  Mann ",
    " Ein Mann",
    "Ein Mann   ",
    "",
    "</s> und <pad>",
]
INSIDE = "Mann Ein,Ein-Ein"  # words without a space before them, which only a vocabulary of words does not know


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request) -> Tokenizer:
    return train_tokenizer(LINES, request.param, 300, prefixes=[">>deu<<", ">>eng<<"])


def test_what_is_encoded_is_decoded_as_it_was(tokenizer):
    whole_words = {"▁Schutzhelmen", "▁Antriebsradsystem"} <= set(tokenizer.engine.ids)
    for text in TRICKY if whole_words else [*TRICKY, INSIDE]:
        ids = tokenizer.encode(text)
        assert ids[-1] == tokenizer.eos_id
        assert tokenizer.unk_id not in ids, tokenizer.pieces(ids)
        assert tokenizer.decode(ids) == text


def test_special_tokens_come_first_and_text_is_never_taken_for_one(tokenizer):
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2, 3)
    assert tokenizer.start_id == 1
    assert tokenizer.prefixes == (">>deu<<", ">>eng<<")
    ids = tokenizer.encode("</s> und <pad> <s> <unk>", eos=False)
    assert not {0, 1, 2, 3} & set(ids)


def test_letters_with_marks_are_one_in_either_spelling(tokenizer):
    assert tokenizer.encode("Ma\u0308dchen") == tokenizer.encode("M\u00e4dchen")


def test_vocabulary_is_no_larger_than_asked_for(tokenizer):
    assert tokenizer.vocabulary_size <= 300
    assert len(tokenizer) == tokenizer.vocabulary_size
    assert max(id for line in LINES for id in tokenizer.encode(line)) < tokenizer.vocabulary_size


def test_the_same_lines_give_the_same_vocabulary(tokenizer):
    kind = {"sentencepiece": "unigram"}.get(tokenizer.engine.kind)
    kinds = [kind] if kind else ["bpe", "words", "characters"]
    again = [train_tokenizer(iter(LINES), kind, 300, prefixes=[">>deu<<", ">>eng<<"]) for kind in kinds]
    assert tokenizer in again


def test_a_card_is_plain_json_and_holds_the_tokenizer(tokenizer):
    card = json.loads(json.dumps(tokenizer.to_card()))
    assert all(isinstance(value, str) for value in card.values())
    back = Tokenizer.from_card(card)
    assert back == tokenizer
    assert [back.encode(line) for line in TRICKY] == [tokenizer.encode(line) for line in TRICKY]
    assert (back.pad_id, back.bos_id, back.eos_id, back.unk_id) == (0, 1, 2, 3)


def test_a_prefix_is_one_token_at_the_start_and_is_not_shown(tokenizer):
    with_prefix = tokenizer.encode(">>deu<< Ein Mann")
    assert with_prefix == tokenizer.encode("Ein Mann", prefix=">>deu<<")
    assert with_prefix == [tokenizer.prefix_id(">>deu<<"), *tokenizer.encode("Ein Mann")]
    assert tokenizer.decode(with_prefix) == "Ein Mann"
    with pytest.raises(UserError, match=r">>fra<<: the model does not know this language prefix\. it knows >>deu<<"):
        tokenizer.encode(">>fra<< Ein Mann")


def test_prefixes_of_the_lines_are_no_text():
    lines = [">>eng<< 1 2", ">>num<< one two"]
    tokenizer = train_tokenizer(lines, "words", prefixes=[">>eng<<", ">>num<<"])
    assert list(tokenizer.engine.ids)[6:] == ["▁", "▁1", "▁2", "▁one", "▁two"]


def test_words_are_what_spaces_part(tokenizer):
    ids = tokenizer.encode(">>eng<< A man's blue  shirt; two")
    words = tokenizer.words(ids)
    assert [word.text for word in words] == ["A", "man's", "blue", "shirt;", "two"]
    places = [place for word in words for place in word.positions]
    assert places == sorted(set(places))
    assert 0 not in places  # the prefix
    assert len(ids) - 1 not in places  # EOS
    assert "".join(tokenizer.decode([ids[p]]) for p in words[1].positions).strip() in ("man's", "man ' s", "man's")


def test_han_characters_are_words_of_their_own():
    tokenizer = train_tokenizer(["一百二十三", "twenty 三百"], "words")
    assert [word.text for word in tokenizer.words(tokenizer.encode("twenty 一百三"))] == ["twenty", "一", "百", "三"]


def test_bytes_spell_what_has_no_piece():
    for kind in ("bpe", "unigram"):
        tokenizer = train_tokenizer(LINES, kind, 600, byte_fallback=True)
        text = "Ein Ω und 😀 in 漢字"
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.decode(tokenizer.encode("Ein Mann")) == "Ein Mann"
        plain = train_tokenizer(LINES, kind, 300)
        assert plain.unk_id in plain.encode(text)


def test_digits_are_pieces_of_their_own():
    tokenizer = train_tokenizer(["2024 2024 2024 2024"], "bpe", 100)
    assert tokenizer.pieces(tokenizer.encode("2024", eos=False)) == ["▁2", "0", "2", "4"]


def test_compatible_forms_are_folded_only_if_asked():
    wide = "\uff11\uff12"  # full-width digits
    keeping = train_tokenizer([f"{wide} 12"], "characters")
    assert keeping.decode(keeping.encode(wide)) == wide
    folding = train_tokenizer([f"{wide} 12"], "characters", normalise="nfkc")
    assert folding.decode(folding.encode(wide)) == "12"


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_or_no_room_is_said(kind):
    with pytest.raises(UserError, match="no text to make a vocabulary of"):
        train_tokenizer(["", "  "], kind)
    with pytest.raises(UserError, match="no room for text"):
        train_tokenizer(LINES, kind, 4)


def test_loaded_from_files(tmp_path):
    pieces = train_tokenizer(LINES, "unigram", 200)
    (tmp_path / "a.model").write_bytes(pieces.engine.model)
    assert Tokenizer.load(tmp_path / "a.model").encode("Ein Mann") == pieces.encode("Ein Mann")
    assert Tokenizer.load(tmp_path).encode("Ein Mann") == pieces.encode("Ein Mann")
    merges = train_tokenizer(LINES, "bpe", 200)
    (tmp_path / "tokenizer.json").write_text(merges.engine.text, encoding="utf-8")
    assert Tokenizer.load(tmp_path).encode("Ein Mann") == merges.encode("Ein Mann")


def test_files_that_are_no_tokenizer_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.json: there is no such tokenizer"):
        Tokenizer.load(tmp_path / "no.json")
    with pytest.raises(UserError, match="there is no tokenizer"):
        Tokenizer.load(tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UserError, match=r"bad\.json: not a tokenizer\.json"):
        Tokenizer.load(tmp_path / "bad.json")
    (tmp_path / "bad.spm").write_bytes(b"\xff\x00\xff")
    with pytest.raises(UserError, match=r"bad\.spm: not a sentencepiece model"):
        Tokenizer.load(tmp_path / "bad.spm")
    with pytest.raises(UserError, match="no tokenizer of kind 'other'"):
        Tokenizer.from_card({"engine": "other"})
    with pytest.raises(UserError, match="lacks its model"):
        Tokenizer.from_card({"engine": "sentencepiece"})


def test_a_sentencepiece_model_with_ids_of_another_vocabulary():
    """As Marian has it: pieces by one file, ids by another, `</s>` first and padding last."""
    model = train_tokenizer(LINES, "unigram", 200).engine
    pieces = [piece for piece in model.ids if piece not in ("<pad>", "<s>", "</s>", "<unk>", "▁Ein")]
    vocabulary = {piece: id for id, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    tokenizer = Tokenizer(SentencepieceEngine(model.model, vocabulary))
    assert (tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id) == (0, 1, len(vocabulary) - 1)
    assert tokenizer.bos_id is None
    assert tokenizer.start_id == tokenizer.pad_id
    ids = tokenizer.encode("in einem Hemd")
    assert tokenizer.pieces(ids)[:-1] == model._processor.encode("in einem Hemd", out_type=str)
    assert tokenizer.decode(ids) == "in einem Hemd"
    assert Tokenizer.from_card(tokenizer.to_card()).encode("in einem Hemd") == ids


def test_a_vocabulary_without_padding_gets_an_id_for_it():
    tokenizer = vocabulary_tokenizer(["<s>", "</s>", "<unk>", "a", "b"])
    assert tokenizer.pad_id == 5
    assert tokenizer.vocabulary_size == 6
    assert tokenizer.pieces([5, 3]) == ["<pad>", "a"]
    with pytest.raises(UserError, match="has 6 tokens, the model embeds 5"):
        tokenizer.check_size(5)
    tokenizer.check_size(6)


def test_text_that_is_cut_already():
    by_space = vocabulary_tokenizer(["<blank>", "<s>", "</s>", "<unk>", "آ", "ز"])
    assert by_space.encode("آ ز q") == [4, 5, 3, 2]
    assert by_space.pad_id == 0
    assert by_space.decode([4, 5, 2]) == "آ ز"
    by_character = vocabulary_tokenizer(["<blank>", "<s>", "</s>", "<unk>", "آ", "ز"], by="characters")
    assert by_character.encode("آز") == [4, 5, 2]
    assert by_character.decode([4, 5, 2]) == "آز"


def test_a_tokenizer_that_ends_no_sentence_is_refused():
    with pytest.raises(UserError, match="no token that ends a sentence"):
        vocabulary_tokenizer(["<unk>", "a"])
    with pytest.raises(UserError, match="no token '<end>'"):
        vocabulary_tokenizer(["<unk>", "a"], eos="<end>")


def test_a_file_that_pads_and_cuts_does_neither_here():
    page = json.loads(train_tokenizer(LINES, "bpe", 200).engine.text)
    page["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    page["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<pad>",
    }  # fmt: skip
    tokenizer = Tokenizer(HuggingFaceEngine(json.dumps(page)))
    assert tokenizer.decode(tokenizer.encode(LINES[1])) == LINES[1]
