"""`sleuth evaluate`: which kind of model is measured."""

from sleuth.cli.evaluate_classification import evaluate_pictures_of_classes
from sleuth.cli.evaluate_detection import evaluate_detector
from sleuth.cli.evaluate_semantic import evaluate_pixel_classes
from sleuth.cli.evaluate_translation import evaluate_translator
from sleuth.cli.evaluate_words import EvaluateWords
from sleuth.weights.classifiers import is_classifier
from sleuth.weights.segmenter import is_segmenter
from sleuth.weights.translators import is_translator

_KINDS = (
    (is_translator, evaluate_translator),
    (is_segmenter, evaluate_pixel_classes),
    (is_classifier, evaluate_pictures_of_classes),
)


def run_evaluate(words: EvaluateWords) -> None:
    """Measure a model or a result file, print and write what came out."""
    for is_such, evaluate in _KINDS:
        if words.model is not None and is_such(words.model):
            return evaluate(words)
    return evaluate_detector(words)
