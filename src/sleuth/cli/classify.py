"""`sleuth predict` with a classifier."""

from typing import Any

from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.cli.frames import readable
from sleuth.errors import UserError
from sleuth.runtime.classifier import load_classifier
from sleuth.runtime.sources import expand_sources


def run_classify(
    sources: tuple[str, ...],
    model: str,
    *,
    top: int,
    json: str | None,
    skip_faulty: bool,
    batch_size: int,
    device: str,
) -> None:
    """Print the likeliest classes of every picture, with their scores, as a table or as JSON."""
    if top < 1:
        raise UserError(f"{top} classes are none", where="--top", mend="give 1 or more")
    items = expand_sources(sources)
    classifier = load_classifier(model, device)
    listed: list[dict[str, Any]] = []
    total = None if any(item.is_video for item in items) else len(items)
    with progress("looking", total) as advance:
        stream = classifier.stream(readable(items, skip_faulty), top, batch_size=batch_size)
        for number, found in enumerate(stream, start=1):
            if json != "-":
                guesses = ", ".join(f"{each.name} {each.score:.3f}" for each in found.guesses)
                print_text(f"{found.source}: {guesses}")
            listed.append(found.to_json())
            advance(number)
    if json is not None:
        write_json(listed, json)
    if not listed:
        tell("no picture could be read")
