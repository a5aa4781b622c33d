"""What each ingredient of a detector's training brings: each is changed in turn, for the same time or as many steps.

    python benchmarks/ablation.py --data scenes --recipe recipes/sleuth-scenes.toml \
        --steps 400 --threads 1 --seed 0 --layers --set data.val_limit=500 --out runs/ablation
    python benchmarks/ablation.py --gather --out runs/ablation --markdown docs/sleuth.md

An arm is the recipe with one change: an ingredient left out, or one that the recipe leaves out added. All learn from
the train split and are measured once, at the end, on val; the test split is never opened. Each writes ARM-seedS.json
into --out, and an arm whose file is there is not run again, so that long runs can be spread over days and machines by
--only and --seed. On a noisy machine --steps compares better than --minutes; the time of a step tells the cost.
--gather trains nothing, and makes the table of what is there.
"""

import argparse
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import describe, put_between_marks, sentence, table, write_json
from trained import train_and_measure

from sleuth.models.families import family_of
from sleuth.training.recipe import Recipe, load_recipe

MARK = "ablation"
BASE = "recipe"
_SAME = ("recipe", "data", "length", "threads", "set")
"""What must be alike in arms that share a table."""


@dataclass(frozen=True)
class Arm:
    """One change to the recipe.

    Args:
        what: in words, for the table.
        overrides: as `sleuth train --set` takes them.
        families: of detectors that have this ingredient; empty for all.
        optimizer: of recipes that have this ingredient; empty for all.
    """

    what: str
    overrides: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    optimizer: str = ""


_VARIFOCAL = ("loss.classes=varifocal", "loss.focal_alpha=0.75", "loss.focal_gamma=2.0")
_ADAMW = ("optimizer.kind=adamw", "optimizer.rate=1.5e-3", "optimizer.backbone_rate=1.5e-3")
_COLOURS = tuple(f"augmentation.{key}=0.0" for key in ("brightness", "contrast", "saturation", "hue"))

ARMS: Mapping[str, Arm] = {
    BASE: Arm("the recipe as it is"),
    "picking": Arm("queries picked by scores that nobody teaches", ("loss.proposal_weight=0",), ("sleuth", "dfine")),
    "every-layer": Arm("the last decoder layer alone is taught", ("loss.auxiliary=false",)),
    "look-forward-twice": Arm("no look forward twice", ("model.look_forward_twice=false",), ("sleuth",)),
    "matchability": Arm("varifocal in place of the matchability-aware loss", _VARIFOCAL, ("sleuth",)),
    "encoder-attention": Arm("no self-attention in the encoder", ("model.encoder_layers=0",), ("sleuth", "dfine")),
    "muon": Arm("AdamW in place of Muon, at a quarter of the rate", _ADAMW, optimizer="muon"),
    "mosaic": Arm("no mosaic", ("augmentation.mosaic=0.0",)),
    "scale-jitter": Arm("no scale jitter", ("augmentation.scale_jitter=[1.0, 1.0]",)),
    "colours": Arm("no change of colours", _COLOURS),
    "weight-average": Arm("no average of the weights", ("run.ema_decay=0.0",)),
    "closing": Arm("no closing phase", ("run.close_augmentation=0.0",)),
    "copy-paste": Arm("no copy-paste", ("augmentation.copy_paste=0.0",)),
    "denoising": Arm("no denoising queries", ("model.num_denoising=0",), ("sleuth", "dfine", "rtdetr")),
    "dense": Arm("no dense heads on the memory", ("model.dense=false",), ("sleuth",)),
    "distributions": Arm("no loss of edge distributions", ("loss.fgl_weight=0.0", "loss.ddf_weight=0.0"), ("dfine",)),
    "distillation": Arm("no distillation of edge distributions", ("loss.ddf_weight=0.0",), ("dfine",)),
    "with-closing": Arm("with a closing phase of 15%", ("run.close_augmentation=0.15",)),
    "with-copy-paste": Arm("with copy-paste", ("augmentation.copy_paste=0.5",)),
    "with-denoising": Arm("with 50 denoising queries", ("model.num_denoising=50",), ("sleuth", "rtdetr")),
    "with-edges": Arm(
        "with D-FINE's distributions of edges in place of boxes", ("model.refinement=edges",), ("sleuth",)
    ),
    "with-dense": Arm("with dense heads on the memory", ("model.dense=true",), ("sleuth",)),
}
"""By name. An arm that changes nothing of the recipe is not run: what is off cannot be left out."""


def arm_recipe(name: str, words: argparse.Namespace) -> Recipe:
    """The recipe of an arm: train and val, the same time, nothing measured on the way."""
    common = (
        f"data.path={words.data}",
        "data.train=train",
        "data.val=val",
        *((f"run.steps={words.steps}", "run.minutes=0") if words.steps else (f"run.minutes={words.minutes}",)),
        f"run.threads={words.threads}",
        f"run.seed={words.seed}",
        "run.evaluate_every=0",
        "run.patience=0",
    )
    return load_recipe(words.recipe, (*common, *words.set, *ARMS[name].overrides))


def arms_of(words: argparse.Namespace) -> tuple[str, ...]:
    """The arms that are asked for and change something, in their order."""
    base = arm_recipe(BASE, words)
    family = family_of(base.model.config).name
    there = [
        name
        for name, arm in ARMS.items()
        if (not arm.families or family in arm.families) and arm.optimizer in ("", base.optimizer.kind)
    ]
    changing = [name for name in there if name == BASE or arm_recipe(name, words) != base]
    for name in words.only or ():
        if name not in changing:
            raise SystemExit(f"{name} changes nothing of this recipe; arms: {', '.join(changing)}")
    return tuple(name for name in changing if not words.only or name in words.only)


def settings(words: argparse.Namespace) -> dict[str, Any]:
    """What is the same for all arms, as their files tell it."""
    length = f"{words.steps} steps" if words.steps else f"{words.minutes:g} minutes"
    named = {"recipe": words.recipe.stem, "data": Path(words.data).name, "length": length}
    return named | {"threads": words.threads, "set": list(words.set)}


def run_arm(name: str, words: argparse.Namespace) -> dict[str, Any]:
    """Train an arm and measure it on val."""
    recipe, folder = arm_recipe(name, words), words.out / f"{name}-seed{words.seed}"
    about = settings(words) | {"machine": describe()}
    return about | {"arm": name, "seed": words.seed} | train_and_measure(recipe, folder, layers=words.layers)


def gathered(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Every arm that was run, in the order of `ARMS`, each with its seeds in theirs."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(out.glob("*-seed*.json")):
        page = json.loads(path.read_text())
        found.setdefault(page["arm"], []).append(page)
    pages = [page for runs in found.values() for page in runs]
    for key in _SAME:
        values = {json.dumps(page[key]) for page in pages}
        if len(values) > 1:
            raise SystemExit(f"{out}: arms of different {key} are no comparison: {', '.join(sorted(values))}")
    return {name: sorted(found[name], key=lambda page: page["seed"]) for name in ARMS if name in found}


def as_markdown(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A row for each arm: means of its seeds, and the difference to the recipe with the same ones."""
    layered = any(page["layers"] for runs in found.values() for page in runs)
    header = ["change", "AP (val)", "difference", "AP50 (val)", "steps", "s a step", "parameters"]
    header += ["AP of each decoder layer"] * layered
    rows = [_row(ARMS[name].what, runs, found.get(BASE, ()), layered) for name, runs in found.items()]
    first = next(iter(found.values()))[0]
    seeds = sorted({page["seed"] for runs in found.values() for page in runs})
    more = f", with {' '.join(first['set'])}" if first["set"] else ""
    about = (
        f"{first['recipe']} on {first['data']}{more}: {first['length']} of training each, seeds "
        f"{', '.join(map(str, seeds))}; learnt from train, measured on val. {sentence(first['machine'])}"
    )
    return f"{table(header, rows)}\n\n{about}"


def _row(what: str, runs: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]], layered: bool) -> list[str]:
    own = {page["seed"]: page["AP"] for page in base}
    apart = [page["AP"] - own[page["seed"]] for page in runs if page["seed"] in own]
    cells = [
        what + (f" ({len(runs)} seeds)" if len(runs) > 1 else ""),
        f"{_mean(runs, 'AP'):.3f}",
        f"{statistics.mean(apart):+.3f}" if apart and runs is not base else "",
        f"{_mean(runs, 'AP50'):.3f}",
        f"{_mean(runs, 'steps'):,.0f}",
        f"{sum(page['seconds'] for page in runs) / max(1, sum(page['steps'] for page in runs)):.2f}",
        f"{runs[0]['parameters']:,}",
    ]
    if layered:
        studies = [page["layers"]["layers"] for page in runs if page["layers"]]
        cells.append(
            ", ".join(f"{statistics.mean(each['ap'] for each in layer):.3f}" for layer in zip(*studies, strict=True))
        )
    return cells


def _mean(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.mean(page[key] for page in runs)


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder with the splits train and val")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/sleuth-bccd.toml"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, for each arm")
    parser.add_argument("--steps", type=int, help="of training, for each arm, in place of minutes")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all arms, as in a recipe")
    parser.add_argument("--only", nargs="+", choices=ARMS, metavar="ARM", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--layers", action="store_true", help="AP of every decoder layer as well")
    parser.add_argument("--gather", action="store_true", help="train nothing; make the table of the arms in --out")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="a folder and a JSON file for each arm")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    parser.add_argument("--mark", default=MARK, help=f"which marks: <!-- {MARK} --> by default")
    words = parser.parse_args()
    if not words.gather and words.data is None:
        parser.error("--data is missing")
    return words


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    for name in () if words.gather else arms_of(words):
        path = words.out / f"{name}-seed{words.seed}.json"
        if path.exists():
            before = json.loads(path.read_text())
            for key, value in settings(words).items():
                if before.get(key) != value:
                    raise SystemExit(f"{path} was run with {key} {before.get(key)}, not {value}; choose another --out")
            print(f"{name}: was run before, {path}", flush=True)
            continue
        page = run_arm(name, words)
        write_json(path, page)
        print(f"{name}: AP {page['AP']:.3f}, {page['steps']} steps in {page['seconds']:.0f} s", flush=True)
    found = gathered(words.out)
    if not found:
        raise SystemExit(f"{words.out}: no arm has been run")
    text = as_markdown(found)
    print(text)
    if words.json:
        write_json(words.json, found)
    if words.markdown:
        put_between_marks(words.markdown, words.mark, text)


if __name__ == "__main__":
    main()
