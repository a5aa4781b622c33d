"""`sleuth models`."""

from dataclasses import asdict

import torch

from sleuth.cli.console import print_text, write_json
from sleuth.models.detr import DetrConfig, build_detr
from sleuth.weights.catalog import CATALOG


def run_models(*, as_json: bool) -> None:
    """List the catalog."""
    if as_json:
        listed = [
            {
                "name": name,
                "about": known.about,
                "weights": known.weights is not None,
                "parameters": _parameters(known.config),
                "config": asdict(known.config),
                "preprocess": asdict(known.preprocess),
            }
            for name, known in CATALOG.items()
        ]
        write_json(listed, "-")
        return
    rows = [("name", "parameters", "queries", "layers", "weights", "about")]
    for name, known in CATALOG.items():
        config = known.config
        layers = f"{config.encoder_layers}+{config.decoder_layers}"
        weights = "none" if known.weights is None else "bundled"
        rows.append((name, f"{_parameters(config):,}", str(config.num_queries), layers, weights, known.about))
    name_w, parameters_w = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    for name, parameters, queries, layers, weights, about in rows:
        print_text(f"{name:<{name_w}}  {parameters:>{parameters_w}}  {queries:>7}  {layers:>6}  {weights:<7}  {about}")
    print_text("\nA model that you have trained is named by its .safetensors file or its run folder.")


def _parameters(config: DetrConfig) -> int:
    """How many parameters a model has, counted without making room for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_detr(config).parameters())
