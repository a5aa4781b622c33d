"""A page about each model that has a name, in Markdown, from the same table that `sleuth models` prints."""

from pathlib import Path

from sleuth.files import atomic_write
from sleuth.weights.listing import LISTED, Listed, published_as

_HEAD = "<!-- Written by `sleuth models --docs docs/models`: change src/sleuth/weights/listing.py instead. -->\n"
_OWN_PAGES = {
    "sleuth-scenes": "../sleuth.md",
    "detr-scenes": "../detr-scenes.md",
    "detr-scenes-panoptic": "../detr-scenes-panoptic.md",
    "numbers": "../translation.md",
    **dict.fromkeys(("dense-small", "dense-r18", "dense-r50", "dense-vit-s"), "../encoder-only.md"),
    **dict.fromkeys(("detr-vit-ti", "detr-vit-s", "detr-vit-b"), "../vit.md"),
    "vit-digits": "../classification.md",
}


def write_pages(folder: Path) -> list[Path]:
    """Write a page about each model, and one that lists them.

    Args:
        folder: where to; other files in it stay.

    Returns:
        The files written.

    Raises:
        UserError: the folder cannot be written to.
    """
    written = []
    for name, text in pages().items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written


def pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    return {page_name(name): _page(name, listed) for name, listed in LISTED.items()} | {"README.md": _overview()}


def page_name(name: str) -> str:
    """The file of a model's page."""
    return f"{name.replace('/', '-')}.md"


def _overview() -> str:
    head = "| name | task | parameters | score | licence | weights |\n|---|---|---|---|---|---|\n"
    rows = "".join(
        f"| [{name}]({page_name(name)}) | {listed.task} | {listed.parameters:,} | {listed.score or '-'} |"
        f" {listed.licence} | {_weights(listed)} |\n"
        for name, listed in LISTED.items()
    )
    return (
        f"{_HEAD}\n# Models\n\nWhat can be loaded by name. `sleuth models` prints the same, and what is here."
        f"\n\n{head}{rows}\nScores of the hub's models are as published, in percent: on COCO val2017; BLEU of"
        " translators on Tatoeba.\n"
    )


def _page(name: str, listed: Listed) -> str:
    facts = [
        ("task", listed.task),
        ("parameters", f"{listed.parameters:,}"),
        ("score", f"{listed.score} ({listed.measured_on})" if listed.scores else "none: it has no weights"),
        ("licence", listed.licence),
        ("origin", listed.origin),
        ("weights", _weights(listed)),
        ("architecture", f"[{listed.architecture}]({page_name(listed.architecture)})"),
    ]
    if listed.architecture == name:
        facts.pop()
    table = "".join(f"| {what} | {value} |\n" for what, value in facts)
    more = f"\n[More about it]({_OWN_PAGES[name]})\n" if name in _OWN_PAGES else ""
    about = f"{listed.about[0].upper()}{listed.about[1:]}."
    return f"{_HEAD}\n# {name}\n\n{about}\n\n| | |\n|---|---|\n{table}{more}\n{_use(name, listed)}"


def _weights(listed: Listed) -> str:
    return {
        "bundled": "bundled with Sleuth",
        "hub": "downloaded when first used, then kept",
        "architecture": "none: train it",
    }[listed.kind]


def _use(name: str, listed: Listed) -> str:
    if listed.kind != "architecture":
        ask, tune, found = _ASKING.get(listed.task, _DETECTING)
        return (
            f"```sh\nuv run sleuth {ask} --model {name}\n"
            f"uv run sleuth train --data {tune} --model {name}  # fine-tune it\n"
            f'```\n\n```python\nimport sleuth\n\n{found} = sleuth.load("{name}")\n```\n'
        )
    published = published_as(name)
    also = f"\nWith published weights: [{published}]({page_name(published)}).\n" if published else ""
    data = _ASKING.get(listed.task, _DETECTING)[1]
    trace = (
        "" if listed.task in ("classification", "semantic segmentation") else f"uv run sleuth trace --model {name}\n"
    )
    return f"```sh\nuv run sleuth train --data {data} --model {name}\n{trace}```\n{also}"


_DETECTING = ("predict picture.jpg", "my-pictures/", "detector")
_ASKING = {
    "translation": ("translate text.txt", "my-pairs/ --languages en-de", "translator"),
    "classification": ("predict picture.jpg", "my-classes/", "classifier"),
    "semantic segmentation": ("predict picture.jpg", "my-masks/", "segmenter"),
}
"""Of models that do not find objects: how they are asked and trained on the command line, and what Python gets."""
