"""A model of any task by its name, ready to be asked."""

from pathlib import Path

from sleuth.runtime.classifier import Classifier, load_classifier
from sleuth.runtime.devices import choose_device
from sleuth.runtime.predictor import Predictor, load_predictor
from sleuth.runtime.segmenter import SemanticPredictor, load_segmenter
from sleuth.tasks.translator import Translator
from sleuth.weights.classifiers import is_classifier
from sleuth.weights.segmenter import is_segmenter
from sleuth.weights.translators import is_translator, open_translator


def load(name_or_path: str | Path, device: str = "auto") -> Predictor | Translator | Classifier | SemanticPredictor:
    """A model ready to find objects, to translate, or to name what pictures or their pixels show.

    Args:
        name_or_path: a name with weights (``detr-scenes``, ``numbers``, ``vit-digits``); a model of the Hugging Face
            hub (``facebook/detr-resnet-50``, ``Helsinki-NLP/opus-mt-en-de``, or with ``@revision``), downloaded once; a
            folder with config.json and weights; a ``.pth`` file of an original project; a ``.safetensors`` file that
            `sleuth train` wrote, or its run folder.
        device: auto, cpu, cuda, cuda:1 or mps.

    Returns:
        A `Predictor` for pictures; of a translation model a `Translator`, for lines of text; or a `Classifier`, for
        what a picture shows as a whole; or a `SemanticPredictor`, for what each of its pixels shows.

    Raises:
        UserError: there is no such model or device, the model cannot be had, or its files are broken.
    """
    if is_translator(str(name_or_path)):
        loaded = open_translator(name_or_path)
        return Translator(loaded.model.to(choose_device(device)), loaded.source, loaded.target, loaded.decoding)
    if is_classifier(str(name_or_path)):
        return load_classifier(str(name_or_path), device)
    if is_segmenter(name_or_path):
        return load_segmenter(str(name_or_path), device)
    return load_predictor(name_or_path, device)
