"""Text in, text out: lines in order, empty ones empty, long ones refused or in pieces."""

import pytest
import torch

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig, build_seq2seq
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.tasks.translator import Translator

LINES = ["one two three", "", "four, five. six seven", "   ", "two"]
TOKENS = train_tokenizer(["one two three four five six seven , ."], "words", prefixes=[">>up<<"])


@pytest.fixture
def translator() -> Translator:
    torch.manual_seed(3)
    sizes = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feedforward_dim": 32}
    config = Seq2SeqConfig(source_vocab=len(TOKENS), target_vocab=len(TOKENS), max_positions=12, **sizes)
    return Translator(build_seq2seq(config), TOKENS, decoding=DecodingOptions(max_length=8))


@pytest.mark.parametrize("options", [DecodingOptions(max_length=8), DecodingOptions(max_length=8, beams=3, n_best=2)])
def test_lines_come_back_in_order_and_empty_ones_stay_empty(translator: Translator, options: DecodingOptions):
    found = translator.translate(LINES, options)
    assert [len(each) for each in found] == [options.n_best, 1, options.n_best, 1, options.n_best]
    assert found[1][0].text == found[3][0].text == ""
    alone = [translator.translate([line], options)[0] for line in LINES]
    assert [[t.text for t in each] for each in found] == [[t.text for t in each] for each in alone]
    assert all(one.score >= two.score for one, two in [each for each in found if len(each) == 2])


def test_a_long_line_is_refused_with_its_number_or_translated_in_pieces(translator: Translator):
    long = "one two three four. " * 4
    with pytest.raises(UserError, match=r"line 2: it has 22 tokens, but the model has 12 positions"):
        translator.translate(["two", long])
    (found,) = translator.translate([long], too_long="split")
    assert found[0].pieces > 1
    assert found[0].source_ids.count(TOKENS.eos_id) == found[0].pieces
    parts = translator.translate(["one two three four. one two three four."] * 2, too_long="split")
    assert found[0].text.startswith(parts[0][0].text[:5])


def test_a_word_that_fits_nowhere_is_refused():
    letters = train_tokenizer(["abc"], "characters")
    sizes = {"dim": 16, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward_dim": 32}
    config = Seq2SeqConfig(source_vocab=len(letters), target_vocab=len(letters), max_positions=12, **sizes)
    translator = Translator(build_seq2seq(config), letters)
    with pytest.raises(UserError, match="a word of 30 characters"):
        translator.translate(["abc" * 10], too_long="split")


def test_streaming_writes_what_translating_gives(translator: Translator):
    for line in LINES:
        assert "".join(translator.stream(line)) == translator.translate([line])[0][0].text


def test_translations_begin_as_they_must(translator: Translator):
    (found,) = translator.translate(["one two"], begin="seven six")
    assert found[0].text.startswith("seven six")
    assert "".join(translator.stream("one two", begin="seven six")).strip() == found[0].text


def test_a_prefix_is_put_before_every_line(translator: Translator):
    (found,) = translator.translate(["one"], prefix=">>up<<")
    assert found[0].source_ids[0] == TOKENS.prefix_id(">>up<<")
    with pytest.raises(UserError, match="does not know this language prefix"):
        translator.translate(["one"], prefix=">>down<<")


def test_scores_of_given_translations_are_those_of_greedy_search(translator: Translator):
    options = DecodingOptions(max_length=8, word_scores=True)
    (found,) = translator.translate(["one two three"], options)
    if found[0].finished:
        scores = translator.score(["one two three"], [found[0].text])[0]
        assert scores == pytest.approx(found[0].word_scores, abs=1e-4)


def test_word_alignments_link_every_target_word(translator: Translator):
    (found,) = translator.translate(["one two three"], DecodingOptions(max_length=8, min_length=3))
    aligned = translator.align_words(found[0])
    assert aligned.source == ("one", "two", "three")
    assert [target for _, target in aligned.links] == list(range(len(aligned.target)))
    for row in aligned.shares:
        assert 0 <= sum(row) <= 1 + 1e-5
