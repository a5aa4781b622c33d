"""The pages in docs/models/ are those that the table of models makes."""

import re
from pathlib import Path

from sleuth.cli.model_pages import page_name, pages
from sleuth.weights.listing import LISTED

FOLDER = Path(__file__).parents[2] / "docs" / "models"


def test_the_pages_are_up_to_date():
    written = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
    assert written == pages(), "run `sleuth models --docs docs/models`, and remove pages of models that are gone"


def test_every_model_has_a_page():
    assert {page_name(name) for name in LISTED} | {"README.md"} == set(pages())


def test_links_between_pages_lead_somewhere():
    for name, text in pages().items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (FOLDER / target).exists(), f"{name} links to {target}"
