"""Numbers in words: known values, the way back by an independent reading, and splits that share nothing."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleuth.data.text.numbers import PREFIXES, NumberPairs, chinese, digits, english, split_of

NUMBERS = st.integers(0, 10**12 - 1) | st.integers(0, 10**5)

KNOWN = {
    0: ("zero", "零"),
    1: ("one", "一"),
    2: ("two", "二"),
    10: ("ten", "十"),
    11: ("eleven", "十一"),
    12: ("twelve", "十二"),
    15: ("fifteen", "十五"),
    19: ("nineteen", "十九"),
    20: ("twenty", "二十"),
    21: ("twenty-one", "二十一"),
    40: ("forty", "四十"),
    99: ("ninety-nine", "九十九"),
    100: ("one hundred", "一百"),
    101: ("one hundred one", "一百零一"),
    110: ("one hundred ten", "一百一十"),
    111: ("one hundred eleven", "一百一十一"),
    200: ("two hundred", "二百"),
    205: ("two hundred five", "二百零五"),
    999: ("nine hundred ninety-nine", "九百九十九"),
    1_000: ("one thousand", "一千"),
    1_001: ("one thousand one", "一千零一"),
    1_010: ("one thousand ten", "一千零一十"),
    1_100: ("one thousand one hundred", "一千一百"),
    2_022: ("two thousand twenty-two", "二千零二十二"),
    10_000: ("ten thousand", "一万"),
    10_001: ("ten thousand one", "一万零一"),
    10_100: ("ten thousand one hundred", "一万零一百"),
    11_000: ("eleven thousand", "一万一千"),
    12_345: ("twelve thousand three hundred forty-five", "一万二千三百四十五"),
    20_020: ("twenty thousand twenty", "二万零二十"),
    100_000: ("one hundred thousand", "十万"),
    100_001: ("one hundred thousand one", "十万零一"),
    112_345: ("one hundred twelve thousand three hundred forty-five", "十一万二千三百四十五"),
    202_000: ("two hundred two thousand", "二十万二千"),
    1_000_100: ("one million one hundred", "一百万零一百"),
    10_010_010: ("ten million ten thousand ten", "一千零一万零一十"),
    10_000_001: ("ten million one", "一千万零一"),
    100_000_000: ("one hundred million", "一亿"),
    100_000_001: ("one hundred million one", "一亿零一"),
    100_010_000: ("one hundred million ten thousand", "一亿零一万"),
    100_100_000: ("one hundred million one hundred thousand", "一亿零一十万"),
    110_001_000: ("one hundred ten million one thousand", "一亿一千万一千"),
    100_001_000: ("one hundred million one thousand", "一亿零一千"),
    123_456_789: (
        "one hundred twenty-three million four hundred fifty-six thousand seven hundred eighty-nine",
        "一亿二千三百四十五万六千七百八十九",
    ),
    999_999_999: (
        "nine hundred ninety-nine million nine hundred ninety-nine thousand nine hundred ninety-nine",
        "九亿九千九百九十九万九千九百九十九",
    ),
    1_000_000_000: ("one billion", "十亿"),
    120_000_000_000: ("one hundred twenty billion", "一千二百亿"),
}


@pytest.mark.parametrize("number", KNOWN)
def test_known_numbers(number):
    assert (english(number), chinese(number)) == KNOWN[number]


def read_english(text: str) -> int:
    """What the words mean: small words add, hundred multiplies, and larger units close a group."""
    small = {english(n): n for n in [*range(20), *range(20, 100, 10)]}
    units = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
    total, group = 0, 0
    for word in text.replace("-", " ").split():
        if word in units:
            total, group = total + group * units[word], 0
        elif word == "hundred":
            group *= 100
        else:
            group += small[word]
    return total + group


def read_chinese(text: str) -> int:
    """What the numerals mean: a digit times the unit after it, and larger units close a section."""
    units, myriads = {"十": 10, "百": 100, "千": 1000}, {"万": 10**4, "亿": 10**8}
    total, section, digit = 0, 0, 0
    for sign in text:
        if sign in myriads:
            total, section, digit = total + (section + digit) * myriads[sign], 0, 0
        elif sign in units:
            section, digit = section + (digit or 1) * units[sign], 0
        else:
            digit = "零一二三四五六七八九".index(sign)
    return total + section + digit


@given(number=NUMBERS)
@settings(max_examples=300, deadline=None)
def test_words_mean_their_number(number):
    assert read_english(english(number)) == number
    numerals = chinese(number)
    assert read_chinese(numerals) == number
    assert "零零" not in numerals
    assert number == 0 or not numerals.endswith("零")


def test_no_two_numbers_are_written_alike():
    for write in (english, chinese, digits):
        assert len({write(number) for number in range(20_000)}) == 20_000


def test_digits():
    assert (digits(1234567), digits(1234567, grouped=True), digits(12, grouped=True)) == ("1234567", "1,234,567", "12")


@pytest.mark.parametrize("write", [english, chinese, digits])
@pytest.mark.parametrize("number", [-1, 10**12])
def test_numbers_beyond_are_refused(write, number):
    with pytest.raises(ValueError, match="is not from 0 to"):
        write(number)


def test_pairs_are_what_they_say():
    pairs, seen = NumberPairs(seed=3), Counter()
    write = {">>eng<<": english, ">>zho<<": chinese}
    for index in range(2000):
        sample, number = pairs.load(index), pairs.number(index)
        prefix, _, source = sample.source.partition(" ")
        if prefix == ">>num<<":
            assert sample.target == str(number)
            kind = next(prefix for prefix in write if write[prefix](number) == source)
            seen["back", kind] += 1
        else:
            assert source.replace(",", "") == str(number)
            assert sample.target == write[prefix](number)
            seen["there", prefix] += 1
            seen["commas"] += "," in source
    directions = [seen[way, kind] for way in ("there", "back") for kind in write]
    assert sum(directions) == 2000
    assert min(directions) > 430
    assert 100 < seen["commas"] < 250
    assert set(PREFIXES) == {*write, ">>num<<"}


def test_every_length_is_as_frequent():
    numbers = [NumberPairs(count=9).number(index) for index in range(3000)]
    lengths = Counter(len(str(number)) for number in numbers)
    assert set(lengths) == set(range(1, 10))
    assert min(lengths.values()) > 260
    assert max(lengths.values()) < 410
    assert sum("000" in str(number) for number in numbers) > 200


def test_a_pair_is_a_function_of_seed_and_index():
    one, other = NumberPairs(seed=1), NumberPairs(seed=2)
    assert [one.load(i) for i in (0, 7, 10**9)] == [NumberPairs(seed=1).load(i) for i in (0, 7, 10**9)]
    assert [one.number(i) for i in range(20)] != [other.number(i) for i in range(20)]
    assert len({one.number(i) for i in range(400)}) > 250
    assert one.load(5).name == "number 5 (train)"
    # As drawn on any machine, whatever its version of Python.
    assert [one.number(i) for i in range(4)] == [4142, 39048042, 563965, 458]


def test_splits_share_no_number():
    drawn = {
        split: {NumberPairs(split, seed=seed).number(i) for seed in (0, 1) for i in range(700)}
        for split in ("train", "val", "test")
    }
    for split, numbers in drawn.items():
        assert {split_of(number) for number in numbers} == {split}
    assert set(range(10)) <= drawn["train"]
    shares = Counter(split_of(number) for number in range(10_000, 30_000))
    assert shares["val"] == pytest.approx(1000, rel=0.15)
    assert shares["test"] == pytest.approx(1000, rel=0.15)


def test_settings_that_make_no_numbers():
    with pytest.raises(ValueError, match="most_digits"):
        NumberPairs(most_digits=13)
    with pytest.raises(ValueError, match="most_digits"):
        NumberPairs("test", most_digits=2)
