"""What each decoder layer adds, family by family: small members of all, trained alike on the scenes from scratch.

    python benchmarks/decoder_study.py --minutes 5 --threads 1 --set run.ema_decay=0.998 --out runs/families
    python benchmarks/decoder_study.py --gather --out runs/families --markdown docs/models/decoder-study.md

Each is the family's own architecture, queries and losses at about the size of sleuth-n: a backbone of a quarter to a
half of the usual width, 128 channels, three decoder layers. All see scenes of 192 x 192 pixels, sixteen in a step, by
`recipes/sleuth-scenes.toml` for the same time. Then every decoder layer is measured on 500 scenes of val, as
`sleuth evaluate --layers` does: as it is, and with overlapping boxes of a class suppressed (NMS at an IoU of 0.5).
Each writes FAMILY.json into --out and is not run again; --only picks some.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from trained import train_and_measure

from sleuth.training.recipe import Recipe, load_recipe

MARK = "families"
RECIPE = Path(__file__).parents[1] / "recipes" / "sleuth-scenes.toml"

_DECODER = ("dim=128", "num_heads=4", "decoder_layers=3", "feedforward_dim=512")
_RESNET = ("backbone_width=32", "frozen_norm=false")
_HYBRID = ("encoder_dim=128", "encoder_num_heads=4", "encoder_feedforward_dim=512", "encoder_expansion=0.5")
_PYRAMID = (*_DECODER, *_RESNET, "backbone=resnet18", "encoder_layers=1", "backbone_levels=3", "num_levels=3")

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "sleuth-n": (),
    "deformable-detr-r50": (*_PYRAMID, "dropout=0.0"),
    "deformable-detr-r50-refined": (*_PYRAMID, "dropout=0.0"),
    "deformable-detr-r50-two-stage": (*_PYRAMID, "dropout=0.0"),
    "dino-r50": (*_PYRAMID, "denoising_queries=50"),
    "rtdetr-r18": (*_DECODER, *_RESNET, *_HYBRID, "encoder_depth=0.34", "num_denoising=50"),
    "rtdetrv2-r18": (*_DECODER, *_RESNET, *_HYBRID, "encoder_depth=0.34", "num_denoising=50"),
    "dfine-n": (*_DECODER, *_HYBRID, "encoder_depth=0.34", "levels=3", "num_points=[4, 4, 4]", "num_denoising=50"),
}
"""The name that each starts from, and what makes it small."""


def recipe_of(name: str, words: argparse.Namespace) -> Recipe:
    """The recipe of the scenes with another model."""
    common = (
        *("run.workers=0", "run.evaluate_every=0", f"run.minutes={words.minutes}"),
        *(f"run.threads={words.threads}", f"run.seed={words.seed}", f"model.name={name}"),
        *(f"data.val_limit={words.pictures}", "preprocess.resize=shortest", "preprocess.normalise=true"),
    )
    return load_recipe(RECIPE, (*common, *(f"model.{change}" for change in FAMILIES[name]), *words.set))


def study(name: str, words: argparse.Namespace) -> dict[str, Any]:
    """Train a family's small member, and measure its layers."""
    found = train_and_measure(recipe_of(name, words), words.out / name, layers=True)
    if found["layers"] is None:
        raise SystemExit(f"{name} has no decoder layers to measure")
    return {
        "name": name,
        "minutes": words.minutes,
        "seed": words.seed,
        "set": words.set,
        "pictures": words.pictures,
        "machine": describe(),
    } | found


def gathered(out: Path) -> list[dict[str, Any]]:
    """What was run, in the order of `FAMILIES`."""
    pages = [json.loads((out / f"{name}.json").read_text()) for name in FAMILIES if (out / f"{name}.json").exists()]
    for key in ("minutes", "seed", "set", "pictures"):
        if len({json.dumps(page[key]) for page in pages}) > 1:
            raise SystemExit(f"{out}: families of different {key} are no comparison")
    return pages


def as_markdown(pages: Sequence[Mapping[str, Any]]) -> str:
    """A row for each family."""
    layers = max(len(page["layers"]["layers"]) for page in pages)
    header = ["family, small", "parameters", "steps", *(f"AP of layer {number}" for number in range(1, layers + 1))]
    rows = [
        [page["name"], f"{page['parameters']:,}", f"{page['steps']:,}", *map(_cell, page["layers"]["layers"])]
        for page in pages
    ]
    first = pages[0]
    return (
        f"{table(header, rows)}\n\nIn brackets with NMS. {first['minutes']:g} minutes each, seed {first['seed']}, "
        f"{first['pictures']} scenes of val. {sentence(first['machine'])}"
    )


def _cell(layer: Mapping[str, float]) -> str:
    return f"{layer['ap']:.3f} ({layer['ap_nms']:.3f})"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7.0, help="of training, for each")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=500, help="scenes that layers are measured on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all, as in a recipe")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, metavar="NAME", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--gather", action="store_true", help="train nothing; make the table of what is in --out")
    parser.add_argument("--out", type=Path, default=Path("runs/families"), help="a folder and a JSON file for each")
    parser.add_argument("--markdown", type=Path, help=f"put the table between the marks of this page, <!-- {MARK} -->")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    for name in () if words.gather else words.only or tuple(FAMILIES):
        path = words.out / f"{name}.json"
        if path.exists():
            print(f"{name}: was run before, {path}", flush=True)
            continue
        page = study(name, words)
        write_json(path, page)
        print(f"{name}: {', '.join(map(_cell, page['layers']['layers']))}, {page['steps']} steps", flush=True)
    pages = gathered(words.out)
    if not pages:
        raise SystemExit(f"{words.out}: nothing has been run")
    text = as_markdown(pages)
    print(text)
    if words.markdown:
        put_between_marks(words.markdown, MARK, text)


if __name__ == "__main__":
    main()
