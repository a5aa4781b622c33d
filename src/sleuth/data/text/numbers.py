"""Built-in pairs without end: numbers written as digits, in English words, and in Chinese numerals.

A prefix says what is wanted: ``>>eng<<``, ``>>zho<<`` or ``>>num<<``. There are four directions: digits to words,
digits to numerals, and both back.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Literal

from sleuth.data.text.samples import TextSample

NumberSplit = Literal["train", "val", "test"]

PREFIXES = (">>eng<<", ">>zho<<", ">>num<<")
"""English words, Chinese numerals, digits."""

MOST_DIGITS = 12

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_THOUSANDS = ("", " thousand", " million", " billion")
_HAN_DIGITS = "零一二三四五六七八九"
_HAN_UNITS = ("", "十", "百", "千")
_HAN_MYRIADS = ("", "万", "亿")

# Below this every number is trained on: a language has names for too few small numbers to hold any of them back.
_ALWAYS_TRAINED = 100
_SHARES = {"val": range(5), "test": range(5, 10)}
_TRIES = 10_000


def english(number: int) -> str:
    """A number from 0 to 999,999,999,999 in English words, the American way: hyphens, and no "and".

    >>> english(1_000_321)
    'one million three hundred twenty-one'
    """
    _check(number)
    if number == 0:
        return _ONES[0]
    groups = [number // 1000**place % 1000 for place in range(len(_THOUSANDS))]
    words = [_hundreds(group) + unit for group, unit in zip(groups, _THOUSANDS, strict=True) if group]
    return " ".join(reversed(words))


def chinese(number: int) -> str:
    """A number from 0 to 999,999,999,999 in Chinese numerals, as they are written with care.

    Two is always 二, as in figures, never the spoken 两. Ten to nineteen begin with 十 where the number does, and with
    一十 within one. One 零 stands for any run of noughts that others follow.

    >>> chinese(10_203)
    '一万零二百零三'
    """
    _check(number)
    if number == 0:
        return _HAN_DIGITS[0]
    text, gap = "", False
    for place in reversed(range(len(_HAN_MYRIADS))):
        section = number // 10_000**place % 10_000
        if not section:
            gap = bool(text)
            continue
        # Noughts between this section and what is before it: a section left out, or one of fewer than four digits.
        if text and (gap or section < 1000):
            text += _HAN_DIGITS[0]
        text += _section(section) + _HAN_MYRIADS[place]
        gap = False
    return text.removeprefix("一") if text.startswith("一十") else text


def digits(number: int, *, grouped: bool = False) -> str:
    """A number in digits, in groups of three with commas if wanted.

    >>> digits(1234567, grouped=True)
    '1,234,567'
    """
    _check(number)
    return f"{number:,}" if grouped else str(number)


@dataclass(frozen=True)
class NumberPairs:
    """Numbers in two of three ways of writing; pair ``index`` is a function of the split, the seed and the index alone.

    Each count of digits is equally frequent, so that short numbers are as well known as long ones; a quarter of all
    numbers are rich in noughts, where both languages have their rules. Digits that are read have commas now and then;
    digits that are written have none. Which split a number belongs to is decided by its hash: no number that is
    validated or tested on is ever trained on; below 100 all are for training.

    Args:
        split: train, val or test.
        seed: of the draw; the splits are the same whatever it is.
        count: pairs in an epoch.
        most_digits: of the longest numbers, at most 12.
        comma_share: share of the digits to read that have commas.
    """

    split: NumberSplit = "train"
    seed: int = 0
    count: int = 100_000
    most_digits: int = 9
    comma_share: float = 0.25

    def __post_init__(self) -> None:
        # Of numbers of two digits and less, none is held back.
        if not (1 if self.split == "train" else 3) <= self.most_digits <= MOST_DIGITS or self.count < 1:
            raise ValueError(f"most_digits = {self.most_digits} and count = {self.count} make no numbers")

    @property
    def endless(self) -> bool:
        """Any index has a pair."""
        return True

    def __len__(self) -> int:
        """Pairs in an epoch."""
        return self.count

    def load(self, index: int) -> TextSample:
        """The pair at ``index``, 0 and on without end."""
        number = self.number(index)
        draw = _Draw("pair", self.seed, index)
        in_words, back = draw.below(2), draw.below(2)
        write, prefix = ((english, PREFIXES[0]), (chinese, PREFIXES[1]))[in_words]
        if back:
            source, target, prefix = write(number), digits(number), PREFIXES[2]
        else:
            source, target = digits(number, grouped=draw.share() < self.comma_share), write(number)
        return TextSample(f"{prefix} {source}", target, self.name(index))

    def name(self, index: int) -> str:
        """What the pair at ``index`` is called."""
        return f"number {index} ({self.split})"

    def number(self, index: int) -> int:
        """The number of the pair at ``index``."""
        for attempt in range(_TRIES):
            draw = _Draw("number", self.seed, index, attempt)
            length = 1 + draw.below(self.most_digits)
            sparse = draw.below(4) == 0
            number = draw.below(9) + 1 if length > 1 else draw.below(10)
            for _ in range(length - 1):
                nought = sparse and draw.share() < 0.6
                number = 10 * number + (0 if nought else draw.below(10))
            if split_of(number) == self.split:
                return number
        raise AssertionError(f"no number of split {self.split} in {_TRIES} draws")


def split_of(number: int) -> NumberSplit:
    """The split that a number belongs to, for good: five in a hundred are for validation, five for testing."""
    if number < _ALWAYS_TRAINED:
        return "train"
    place = _Draw("split", number).below(100)
    return "val" if place in _SHARES["val"] else "test" if place in _SHARES["test"] else "train"


class _Draw:
    """A few random numbers from a name and whole numbers: the same on every machine."""

    def __init__(self, name: str, *numbers: int) -> None:
        self._key = name.encode() + struct.pack(f"<{len(numbers)}q", *numbers)
        self._block, self._left = 0, b""

    def _next(self) -> int:
        if len(self._left) < 4:
            self._left = hashlib.blake2b(self._key, digest_size=64, salt=struct.pack("<q", self._block)).digest()
            self._block += 1
        value, self._left = int.from_bytes(self._left[:4], "little"), self._left[4:]
        return value

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1; its bias, below 1 in 10 million, is let be."""
        return self._next() * limit >> 32

    def share(self) -> float:
        """A number from 0 up to 1."""
        return self._next() / 2**32


def _check(number: int) -> None:
    if not 0 <= number < 10**MOST_DIGITS:
        raise ValueError(f"{number} is not from 0 to {10**MOST_DIGITS - 1:,}")


def _hundreds(number: int) -> str:
    """1 to 999 in English."""
    hundred, rest = divmod(number, 100)
    words = [f"{_ONES[hundred]} hundred"] if hundred else []
    if rest >= 20:
        ten, one = divmod(rest, 10)
        words.append(_TENS[ten] + (f"-{_ONES[one]}" if one else ""))
    elif rest:
        words.append(_ONES[rest])
    return " ".join(words)


def _section(number: int) -> str:
    """1 to 9,999 in Chinese, without noughts before it."""
    text, gap = "", False
    for place in reversed(range(4)):
        digit = number // 10**place % 10
        if digit:
            text += (_HAN_DIGITS[0] if gap else "") + _HAN_DIGITS[digit] + _HAN_UNITS[place]
        gap = bool(text) and not digit
    return text
