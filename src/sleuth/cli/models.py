"""`sleuth models`."""

from pathlib import Path
from typing import Any

from sleuth.cli.console import print_text, tell, write_json
from sleuth.cli.model_pages import write_pages
from sleuth.weights.hub import is_on_this_machine
from sleuth.weights.listing import LISTED, Listed


def run_models(*, as_json: bool, docs: Path | None = None) -> None:
    """List what can be loaded by name, or write a page about each."""
    if docs is not None:
        tell(f"{len(write_pages(docs))} pages in {docs}")
    elif as_json:
        write_json([_entry(name, listed) for name, listed in LISTED.items()], "-")
    else:
        _print_table()


def place_of(name: str, listed: Listed) -> str:
    """Where a model's weights are: bundled, cached, not yet (downloaded when first used), or none."""
    if listed.kind == "hub":
        return "cached" if is_on_this_machine(name) else "not yet"
    return "bundled" if listed.kind == "bundled" else "none"


def _print_table() -> None:
    rows: list[tuple[str, ...]] = [("name", "task", "parameters", "score", "licence", "origin", "weights")]
    for name, listed in LISTED.items():
        origin = "hub" if listed.kind == "hub" else "Sleuth"
        task = listed.task.removesuffix(" segmentation")
        score, place = listed.score or "-", place_of(name, listed)
        rows.append((name, task, f"{listed.parameters:,}", score, listed.licence, origin, place))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[2] = row[2].rjust(widths[2])
        print_text("  ".join(cells).rstrip())
    print_text(
        "\nWeights: bundled with Sleuth, cached on this machine, not yet (downloaded when first used), or none: an"
        "\narchitecture to train. Scores of the hub's models are as published, on COCO val2017 and, BLEU, on Tatoeba."
        "\nAlso: any model of these families on the hub (organisation/model), a folder with config.json and weights, a"
        "\n.pth file of an original project, a .safetensors file that you have trained, or its run folder."
    )


def _entry(name: str, listed: Listed) -> dict[str, Any]:
    """All about a model as plain values; the numbers of those that are built by name are added."""
    from dataclasses import asdict

    from sleuth.models.families import family_of
    from sleuth.models.segmenter_variants import SEGMENTER_VARIANTS
    from sleuth.models.seq2seq_variants import SEQ2SEQ_VARIANTS
    from sleuth.models.vit_variants import VIT_VARIANTS
    from sleuth.weights.catalog import CATALOG

    place = place_of(name, listed)
    values: dict[str, Any] = {
        "name": name,
        "about": listed.about,
        "task": listed.task,
        "parameters": listed.parameters,
        "scores": dict(listed.scores),
        "measured_on": listed.measured_on or None,
        "licence": listed.licence,
        "origin": listed.origin,
        "weights": listed.kind != "architecture",
        "on_this_machine": place in ("bundled", "cached"),
        "place": place,
    }
    if name in CATALOG:
        values["family"] = family_of(CATALOG[name].config).name
        values |= {"config": asdict(CATALOG[name].config), "preprocess": asdict(CATALOG[name].preprocess)}
    if name in VIT_VARIANTS:
        values |= {"family": "vit", "config": asdict(VIT_VARIANTS[name])}
    if name in SEGMENTER_VARIANTS:
        values |= {"family": "segmenter", "config": asdict(SEGMENTER_VARIANTS[name])}
    if name in SEQ2SEQ_VARIANTS:
        values |= {"family": "seq2seq", "config": asdict(SEQ2SEQ_VARIANTS[name])}
    return values
