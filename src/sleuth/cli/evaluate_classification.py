"""`sleuth evaluate` of a classifier."""

from pathlib import Path

from sleuth.cli.console import out as console
from sleuth.cli.console import print_text, progress, tell, write_json
from sleuth.data.classes.digits import DIGITS
from sleuth.data.classes.open import class_splits
from sleuth.data.classes.samples import ClassSource
from sleuth.errors import UserError
from sleuth.evaluation.classification import class_tables, evaluate_classifier
from sleuth.evaluation.classification_report import write_class_report
from sleuth.evaluation.probes import PROBES, Features, Probe, read_features
from sleuth.evaluation.probes import probe as run_probe
from sleuth.runtime.devices import choose_device
from sleuth.training.classification_work import open_class_source
from sleuth.weights.classifiers import BUNDLED, open_classifier

MOST_CLASSES = 30


def run_evaluate_classification(
    model: str,
    data: str | None,
    split: str | None,
    *,
    limit: int,
    skip_faulty: bool,
    batch_size: int,
    out: Path | None,
    as_json: bool,
    device: str,
    probe: Probe | None = None,
) -> None:
    """Ask a classifier, or a probe of its features, what every picture of a split shows; print how often it is right.

    With a probe the classes are those of the data, and the split ``train`` is what it learns from.
    """
    loaded = open_classifier(model)
    if not loaded.names and probe is None:
        what = "this model has features, but no classes"
        raise UserError(what, where=model, mend="see what they are worth with --probe knn, or train a head on them")
    if data is None:
        if model not in BUNDLED:
            raise UserError("what to measure on is not said", mend="name pictures of classes with --data")
        data = DIGITS
    split = split or usual_split(data)
    known = None if probe is None else open_class_source(data, "train", skip_faulty=skip_faulty)
    names = loaded.names if known is None else tuple(known.names)
    source = open_class_source(data, split, names=names, limit=limit, skip_faulty=skip_faulty)
    where = choose_device(device)
    loaded.model.to(where)

    def read(pictures: ClassSource) -> Features:
        with progress("looking", len(pictures)) as advance:
            return read_features(
                loaded.model, pictures, loaded.preprocess, device=where, batch_size=batch_size, progress=advance
            )

    if probe is not None and known is not None:
        evaluation = run_probe(probe, read(known), read(source))
    else:
        with progress("measuring", len(source)) as advance:
            evaluation = evaluate_classifier(
                loaded.model, source, loaded.preprocess, device=where, batch_size=batch_size, progress=advance
            )
    if as_json:
        write_json(evaluation.to_json(), "-")
    else:
        by = "" if probe is None else f", by the features of {len(known or ()):,} pictures ({probe})"
        print_text(f"{len(source):,} pictures of {data}, {split}{by}\n")
        for table in class_tables(evaluation, MOST_CLASSES):
            console().print(table)
    if out is not None:
        written = write_class_report(evaluation, out)
        tell(f"written to {out}: {', '.join(path.name for path in written)}")


def usual_split(data: str) -> str:
    """The split to measure on where nobody says which: val, or test, or the only one."""
    if data == DIGITS:
        return "val"
    known = class_splits(data)
    wanted = [name for word in ("val", "dev", "test") for name in known if name.lower().startswith(word)]
    return wanted[0] if wanted else known[0]


def known_probe(name: str | None) -> Probe | None:
    """The probe of a name.

    Raises:
        UserError: there is none of that name.
    """
    for known in PROBES:
        if name == known:
            return known
    if name is not None:
        raise UserError(f"there is no probe {name!r}", where="--probe", mend=f"choose one of {', '.join(PROBES)}")
    return None
