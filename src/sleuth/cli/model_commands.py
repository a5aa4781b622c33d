"""The words of `sleuth models`, `trace` and `convert`, which look at a model. The work is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from sleuth.cli.options import ModelName


def models(
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
    docs: Annotated[Path | None, typer.Option(help="Write a page about each model into this folder instead.")] = None,
) -> None:
    """List what can be loaded by name.

    Task, parameters, score, licence, origin, and whether the weights are on this machine.
    """
    from sleuth.cli.models import run_models

    run_models(as_json=json, docs=docs)


def trace(
    model: ModelName = "detr-r50",
    size: Annotated[
        str | None,
        typer.Option(
            help="Height x width of the picture; by default 800x600, or the one size that the model takes. Of text, "
            "source x target words; 12x10."
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A row for every encoder and decoder layer.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> None:
    """Print the shape of every tensor on the way, as it runs.

    With parameters and FLOPs of each part. An architecture without weights gets random ones: shapes are the same. Of a
    vision Transformer or a Segmenter: the first block in full, all with --layers. Of a translation model: one training
    step, and each step of decoding with its cache.
    """
    from sleuth.cli.trace import run_trace

    run_trace(model, size, layers=layers, as_json=json)


def convert(
    model: Annotated[str, typer.Argument(help="A model's name, its file or its folder; see `sleuth models`.")],
    to: Annotated[
        str,
        typer.Option(
            help="Whose form: huggingface, original (facebookresearch/detr), ctranslate2 (of translators), "
            "timm (of classifiers) or sleuth."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="A new folder; for original, a .pth file; for sleuth, a .safetensors file.")
    ],
) -> None:
    """Write a model in the form of another library, or in this one's.

    Hugging Face's `from_pretrained` and the original's code load it and give the same outputs. A model that they
    cannot express is refused.
    """
    from sleuth.cli.convert import run_convert

    run_convert(model, to, out)
