"""Checking pairs of sentences before anything is trained on them."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sleuth.data.faults import Fault
from sleuth.data.open import match_split
from sleuth.data.report import LINES_PER_KIND, faults_json, render_faults
from sleuth.data.text.open import read_text, text_splits
from sleuth.data.text.samples import TextPairs

MOST_WORDS = 200
"""A line of more words is overlong; twelve characters count as a word at least, where spaces part none."""

UNLIKE = 3.0
"""A pair is unlike in length if one side is so many times longer than the other side lets expect."""

# Added to both lengths in characters: short sentences differ in length by chance.
_SLACK = 20


@dataclass(frozen=True)
class SideCount:
    """One side of a split.

    Args:
        language: its name, empty where it has none.
        words: words of all lines, as spaces part them.
        distinct_words: how many of them differ.
        mean_words: words of a line.
        most_words: words of the longest line.
    """

    language: str
    words: int
    distinct_words: int
    mean_words: float
    most_words: int


@dataclass(frozen=True)
class TextReport:
    """What `check_text` found in one split.

    Args:
        root: folder or file of the data.
        split: name of the split.
        pairs: pairs that could be read, faulty ones included.
        source: counts of the source side.
        target: counts of the target side.
        faults: all faults, heaviest first.
    """

    root: str
    split: str
    pairs: int
    source: SideCount
    target: SideCount
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The faults that stop training."""
        return tuple(fault for fault in self.faults if fault.severity == "error")

    def to_json(self) -> dict[str, object]:
        """The report as plain values for a JSON file."""
        return {**asdict(self), "faults": faults_json(self.faults)}

    def render(self, lines_per_kind: int = LINES_PER_KIND) -> str:
        """The report as text: counts, then the faults by kind, the first few of each in full."""
        return "\n".join([*self._render_counts(), "", *render_faults(self.faults, lines_per_kind, "every line read")])

    def _render_counts(self) -> Iterator[str]:
        yield f"{self.root} (pairs of sentences, split {self.split})"
        yield f"  {self.pairs:,} pairs"
        for name, side in (("source", self.source), ("target", self.target)):
            language = f" ({side.language})" if side.language else ""
            yield (
                f"  {name}{language}: {side.words:,} words, {side.distinct_words:,} different; "
                f"words in a line: mean {side.mean_words:.1f}, most {side.most_words}"
            )


def check_text(
    path: Path | str,
    split: str | None = None,
    languages: tuple[str, str] | None = None,
    *,
    most_words: int = MOST_WORDS,
    advance: Callable[[], object] | None = None,
) -> tuple[TextReport, ...]:
    """Check every split of a folder or file, or the one named; pairs that two splits share are faults too.

    Args:
        path: a folder, or a file of tabs or JSON lines.
        split: one split; None checks all.
        languages: from which to which, where there are several.
        most_words: longer lines are overlong.
        advance: called after each split, to show progress.

    Raises:
        UserError: there is no such data, or a file cannot be read at all.
    """
    path = Path(path)
    splits = text_splits(path)
    reports: list[TextReport] = []
    known: dict[tuple[str, str], str] = {}
    for name in [match_split(split, splits, path)] if split is not None else splits:
        read = read_text(path, name, languages)
        faults = [*read.faults, *_check_pairs(read.pairs, most_words), *_check_repeats(read.pairs, name, known)]
        reports.append(_report(str(path), name, read.pairs, faults))
        if advance is not None:
            advance()
    return tuple(reports)


def left_out(pairs: TextPairs) -> list[int]:
    """The pairs with an empty side, of which nothing can be learned."""
    both = zip(pairs.sources, pairs.targets, strict=True)
    return [index for index, (source, target) in enumerate(both) if not (source.strip() and target.strip())]


def _check_pairs(pairs: TextPairs, most_words: int) -> Iterator[Fault]:
    """Empty, overlong and unlike lines."""
    full = [(s, t) for s, t in zip(pairs.sources, pairs.targets, strict=True) if s.strip() and t.strip()]
    # How much longer the target language is: one pair against the middle of all.
    usual = statistics.median([_ratio(s, t) for s, t in full]) if full else 1.0
    for index in range(len(pairs)):
        sample = pairs.load(index)
        sides = {"source": sample.source, "target": sample.target}
        empty = [name for name, text in sides.items() if not text.strip()]
        if empty:
            yield Fault("empty-line", sample.name, f"{' and '.join(empty)} empty")
            continue
        for name, text in sides.items():
            if (words := _words(text)) > most_words:
                yield Fault("overlong-line", sample.name, f"the {name} has {words:,} words, more than {most_words}")
        ratio = _ratio(sample.source, sample.target) / usual
        if not 1 / UNLIKE <= ratio <= UNLIKE:
            what = f"{len(sample.source)} characters and {len(sample.target)}: {_cut(sample.source)!r}, "
            yield Fault("misaligned-line", sample.name, what + repr(_cut(sample.target)))


def _check_repeats(pairs: TextPairs, split: str, known: dict[tuple[str, str], str]) -> Iterator[Fault]:
    """Pairs that occur twice in a split or in two splits; ``known`` grows by this split's."""
    own: dict[tuple[str, str], int] = {}
    for source, target, line in zip(pairs.sources, pairs.targets, pairs.lines, strict=True):
        pair = (source.strip(), target.strip())
        if not all(pair):
            continue
        place = f"{pairs.file}, line {line}"
        if pair in own:
            yield Fault("duplicate-pair", place, f"as line {own[pair]}: {_cut(source)!r}")
        elif pair in known:
            yield Fault("shared-pair", place, f"in split {known[pair]} too: {_cut(source)!r}")
        own.setdefault(pair, line)
    for pair in own:
        known.setdefault(pair, split)


def _report(root: str, split: str, pairs: TextPairs, faults: Iterable[Fault]) -> TextReport:
    order = {"error": 0, "warning": 1, "note": 2}
    return TextReport(
        root=root,
        split=split,
        pairs=len(pairs),
        source=_count(pairs.languages[0], pairs.sources),
        target=_count(pairs.languages[1], pairs.targets),
        faults=tuple(sorted(faults, key=lambda fault: order[fault.severity])),
    )


def _count(language: str, lines: Sequence[str]) -> SideCount:
    counts = [line.split() for line in lines]
    lengths = [len(words) for words in counts]
    return SideCount(
        language=language,
        words=sum(lengths),
        distinct_words=len({word for words in counts for word in words}),
        mean_words=sum(lengths) / max(1, len(lengths)),
        most_words=max(lengths, default=0),
    )


def _ratio(source: str, target: str) -> float:
    return (len(target.strip()) + _SLACK) / (len(source.strip()) + _SLACK)


def _words(text: str) -> int:
    return max(len(text.split()), len(text) // 12)


def _cut(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
