"""The picture of an alignment: its cells are the shares, its labels the words, and nothing drawn is a blank box."""

import numpy as np
import pytest

from sleuth.render import alignment
from sleuth.render.alignment import alignment_figure


def test_cells_are_the_shares_and_dots_mark_the_most():
    shares = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    axes = alignment_figure(("a", "b", "$c$"), ("x", "y"), shares, title="a title").axes[0]
    (image,) = axes.get_images()
    np.testing.assert_allclose(image.get_array(), shares)
    assert image.get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", r"\$c\$"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]
    assert axes.collections[0].get_offsets().tolist() == [[0, 0], [2, 1]]


def test_what_no_font_has_is_written_as_its_code_point(monkeypatch, tmp_path):
    usual = [font for font in alignment.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(alignment.fontManager, "ttflist", usual)
    figure = alignment_figure(("ä", "二十"), ("x",), [[0.5, 0.5]])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["ä", "[4E8C][5341]"]
    figure.savefig(tmp_path / "a.png")  # a glyph that is missing would warn, and warnings are errors


def test_no_words_make_an_empty_picture(tmp_path):
    alignment_figure((), (), []).savefig(tmp_path / "a.png")


def test_shares_of_other_words_are_refused():
    with pytest.raises(ValueError, match="2 target, 1 source"):
        alignment_figure(("a",), ("x", "y"), [[1.0]])
