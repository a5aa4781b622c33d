"""`sleuth evaluate` of a classifier."""

from sleuth.cli.console import progress
from sleuth.cli.evaluate_words import (
    MOST_CLASSES,
    OF_OBJECTS,
    OF_PIXELS,
    OF_TEXT,
    EvaluateWords,
    refuse,
    show,
    tell_written,
)
from sleuth.cli.splits import usual_split
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


def evaluate_pictures_of_classes(words: EvaluateWords) -> None:
    """Ask a classifier, or a probe of its features, what every picture of a split shows; print how often it is right.

    With a probe the classes are those of the data, and the split ``train`` is what it learns from.
    """
    refuse(words, (*OF_OBJECTS, *OF_PIXELS, *OF_TEXT), "not of a model that names pictures, as this one does")
    assert words.model is not None
    model, data, probe = words.model, words.data, known_probe(words.probe)
    loaded = open_classifier(model)
    if not loaded.names and probe is None:
        what = "this model has features, but no classes"
        raise UserError(what, where=model, mend="see what they are worth with --probe knn, or train a head on them")
    if data is None:
        if model not in BUNDLED:
            raise UserError("what to measure on is not said", mend="name pictures of classes with --data")
        data = DIGITS
    split = words.split or ("val" if data == DIGITS else usual_split(class_splits(data)))
    known = None if probe is None else open_class_source(data, "train", skip_faulty=words.skip_faulty)
    names = loaded.names if known is None else tuple(known.names)
    source = open_class_source(data, split, names=names, limit=words.limit, skip_faulty=words.skip_faulty)
    device, batch_size = choose_device(words.device), words.batch_size
    loaded.model.to(device)

    def read(pictures: ClassSource) -> Features:
        with progress("looking", len(pictures)) as advance:
            return read_features(
                loaded.model, pictures, loaded.preprocess, device=device, batch_size=batch_size, progress=advance
            )

    if probe is not None and known is not None:
        evaluation = run_probe(probe, read(known), read(source))
    else:
        with progress("measuring", len(source)) as advance:
            evaluation = evaluate_classifier(
                loaded.model, source, loaded.preprocess, device=device, batch_size=batch_size, progress=advance
            )
    by = "" if probe is None else f", by the features of {len(known or ()):,} pictures ({probe})"
    heading = f"{len(source):,} pictures of {data}, {split}{by}\n"
    show(evaluation, heading, class_tables(evaluation, MOST_CLASSES), as_json=words.json)
    if words.out is not None:
        tell_written(words.out, write_class_report(evaluation, words.out))


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
