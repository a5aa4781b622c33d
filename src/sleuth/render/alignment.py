"""Who came from whom: a heat map of target words over source words."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

_INK, _MARK = "#1b2a41", "#e07a1f"
_USUAL = "DejaVu Sans"
_CELL, _LETTER = 0.36, 0.085
_MOST_INCHES = 40.0


def alignment_figure(
    source: Sequence[str], target: Sequence[str], shares: Sequence[Sequence[float]], *, title: str = ""
) -> Figure:
    """How much each target word looked at each source word; a dot marks the one it looked at most.

    Characters that no installed font has are written as their code points.

    Args:
        source: source words, left to right.
        target: target words, top to bottom.
        shares: of each target word over the source words, 0 to 1.
        title: above the picture.

    Raises:
        ValueError: the shares are not of these words.
    """
    if len(shares) != len(target) or any(len(row) != len(source) for row in shares):
        raise ValueError(
            f"shares of {len(shares)} words do not go with {len(target)} target, {len(source)} source words"
        )
    fonts = _fonts("".join([*source, *target, title]))
    families = list(fonts)
    across, down = ([_label(word, fonts) for word in words] for words in (source, target))
    names = (_LETTER * max(map(len, down), default=0), _LETTER * max(map(len, across), default=0))
    width, height = (_CELL * len(across) + names[0] + 1.3, _CELL * len(down) + names[1] + 0.9)
    heading = _label(title, fonts)
    width = max(width, _LETTER * len(heading) + 0.6)
    figure = Figure(
        figsize=(min(width, _MOST_INCHES), min(height, _MOST_INCHES)), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if heading:
        figure.suptitle(heading, fontsize=10, fontweight="bold", color=_INK, fontfamily=families, x=0.02, ha="left")
    if across and down:
        drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        bar = figure.colorbar(drawn, ax=axes, fraction=0.04, pad=0.03, ticks=(0, 0.5, 1))
        bar.ax.tick_params(labelsize=8, length=0, colors=_INK)
        bar.outline.set_visible(False)
        most = [max(range(len(row)), key=row.__getitem__) for row in shares]
        axes.scatter(most, range(len(most)), s=14, color=_MARK, zorder=3)
    axes.set_xticks(range(len(across)), across, rotation=90, fontfamily=families)
    axes.set_yticks(range(len(down)), down, fontfamily=families)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9, colors=_INK)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _label(text: str, fonts: Mapping[str, frozenset[int]]) -> str:
    """A word as it can be drawn; a dollar sign stays one."""
    drawn = "".join(
        letter if letter.isascii() or any(ord(letter) in known for known in fonts.values()) else f"[{ord(letter):04X}]"
        for letter in text
    )
    return drawn.replace("$", r"\$")


def _fonts(text: str) -> dict[str, frozenset[int]]:
    """The usual font, and those that have what it lacks, as far as any installed one does, with their characters."""
    fonts = {_USUAL: _characters(findfont(FontProperties(family=_USUAL)))}
    missing = {ord(letter) for letter in text if not letter.isascii()} - fonts[_USUAL]
    # The last resort has every character, but draws its block rather than itself.
    others = {
        font.name: font.fname
        for font in fontManager.ttflist
        if (font.style, font.weight) == ("normal", 400) and not font.name.startswith("Last Resort")
    }
    for name in sorted(others):
        if not missing:
            break
        if found := missing & _characters(others[name]):
            fonts[name] = _characters(others[name])
            missing -= found
    return fonts


@lru_cache
def _characters(file: str) -> frozenset[int]:
    """The characters that a font has."""
    return frozenset(get_font(file).get_charmap())
