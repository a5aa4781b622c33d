"""`sleuth models`."""

from dataclasses import asdict

from rich.table import Table

from sleuth.cli.console import out, write_json
from sleuth.weights.catalog import CATALOG


def run_models(*, as_json: bool) -> None:
    """List the catalog."""
    if as_json:
        listed = [
            {
                "name": name,
                "about": known.about,
                "weights": known.weights is not None,
                "config": asdict(known.config),
                "preprocess": asdict(known.preprocess),
            }
            for name, known in CATALOG.items()
        ]
        write_json(listed, "-")
        return
    table = Table()
    for column in ("name", "weights", "queries", "layers", "about"):
        table.add_column(column)
    for name, known in CATALOG.items():
        config = known.config
        table.add_row(
            name,
            "bundled" if known.weights is not None else "",
            str(config.num_queries),
            f"{config.encoder_layers}+{config.decoder_layers}",
            known.about,
        )
    out().print(table)
