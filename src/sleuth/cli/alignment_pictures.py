"""Pictures of who looked at whom in a translation."""

from pathlib import Path

from sleuth.files import atomic_write
from sleuth.render.alignment import alignment_figure
from sleuth.tasks.translator import Translation, Translator, WordAlignment


def drawable(translator: Translator, translation: Translation) -> WordAlignment | None:
    """The alignment of words, or of tokens where a side has one word only; None where there is nothing to align."""
    if not translation.ids or translation.pieces > 1:
        return None
    words = translator.align_words(translation)
    return words if min(len(words.source), len(words.target)) > 1 else translator.align_tokens(translation)


def draw_alignment(alignment: WordAlignment, path: Path, title: str = "") -> Path:
    """Write the picture of an alignment as PNG, whole or not at all."""
    figure = alignment_figure(alignment.source, alignment.target, alignment.shares, title=title)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    return path
