"""Peak memory and time of panoptic DETR-R50 on a picture of 1920 x 1080, beside Hugging Face's, with the same weights.

    uv run --group bench python benchmarks/masks_memory.py --markdown benchmarks/README.md

From the picture in memory to masks of all objects and a panoptic map of the picture's size: preprocessing, model and
post-processing of either side. Each side runs in a process of its own; peak memory is above what it holds after its
imports. The weights are random and written once in both forms; the threshold is set so that a wanted number of queries
scores more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import describe, put_between_marks, sentence, table, write_json
from peer import vary_weights
from turns import memory_mib

from sleuth.models.detr import Detr, DetrConfig, build_detr
from sleuth.tasks.detection import Preprocess, preprocess_images
from sleuth.weights.checkpoint import LoadedModel, detector_card, save_model
from sleuth.weights.origins.huggingface_export import write_folder

SIDES = ("sleuth", "peer")
SIZE_HW = (1080, 1920)
THINGS, CLASSES = 91, 250
Step = Callable[[float], dict[str, int]]


def make_picture() -> np.ndarray:
    """Blocks of random colours: attention and masks differ from place to place."""
    draw = np.random.default_rng(1)
    blocks = draw.integers(0, 256, (18, 32, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((60, 60, 1), dtype=np.uint8))


def write_models(folder: Path) -> None:
    """The same random weights in our form and in Hugging Face's."""
    torch.manual_seed(0)
    config = DetrConfig(num_classes=CLASSES, masks=True)
    model = build_detr(config).eval()
    vary_weights(model)
    _tell_queries_apart(model)
    card = detector_card(
        config,
        names=tuple(f"class {label}" for label in range(CLASSES)),
        category_ids=tuple(range(CLASSES)),
        preprocess=Preprocess(),
        is_thing=tuple(label < THINGS for label in range(CLASSES)),
    )
    save_model(folder / "ours.safetensors", model, card)
    write_folder(folder / "peer", LoadedModel(model, card))


@torch.no_grad()
def _tell_queries_apart(model: Detr) -> None:
    """Fresh weights give all queries one answer: make classes and masks differ, as those of a trained model do."""
    for name, module in model.decoder.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.normal_(std=(2 if name.endswith(("q_proj", "k_proj")) else 1) / module.in_features**0.5)
    model.queries.weight.mul_(3)
    model.mask_head.attention.q_proj.weight.mul_(4)
    # Shares of attention are small beside features, and they alone tell one query's mask from another's.
    model.mask_head.convs[0].weight[:, model.input_proj.out_channels :] *= 300
    model.class_head.weight.normal_(std=1.0)
    images = preprocess_images([torch.from_numpy(make_picture()).movedim(-1, 0)], Preprocess())
    logits = model(images).logits[-1, 0]
    model.class_head.bias.copy_(-logits.mean(0))
    # The answers of a trained model are sure: one class far above the others.
    for parameter in model.class_head.parameters():
        parameter.mul_(8 / logits.std(0).mean())


def our_step(folder: Path, device: str) -> Step:
    """Ours, from the picture to packed masks and map."""
    import sleuth

    predictor, picture = sleuth.load(folder / "ours.safetensors", device=device), make_picture()

    def step(threshold: float) -> dict[str, int]:
        (found,) = predictor.predict(picture, threshold, panoptic_threshold=threshold)
        assert found.packed_masks is not None
        assert found.segments is not None
        return {"objects": len(found.packed_masks), "segments": len(found.segments)}

    return step


def peer_step(folder: Path, device: str) -> Step:
    """Hugging Face's, from the picture to binary masks and map."""
    from transformers import DetrForSegmentation, DetrImageProcessor

    processor = DetrImageProcessor.from_pretrained(folder / "peer")
    model, picture = DetrForSegmentation.from_pretrained(folder / "peer").to(device).eval(), make_picture()
    stuff = set(range(THINGS, CLASSES))

    @torch.inference_mode()
    def step(threshold: float) -> dict[str, int]:
        outputs = model(**processor(images=picture, return_tensors="pt").to(device))
        sizes = [SIZE_HW]
        instances = processor.post_process_instance_segmentation(
            outputs, threshold=threshold, target_sizes=sizes, return_coco_annotation=True
        )
        parted = processor.post_process_panoptic_segmentation(
            outputs, threshold=threshold, label_ids_to_fuse=stuff, target_sizes=sizes
        )
        return {"objects": len(instances[0]["segments_info"]), "segments": len(parted[0]["segments_info"])}

    return step


def threshold_for(folder: Path, objects: int, device: str) -> float:
    """A score that so many queries exceed."""
    import sleuth

    (found,) = sleuth.load(folder / "ours.safetensors", device=device).predict(
        make_picture(), 0.0, masks=False, panoptic=False
    )
    scores = sorted(found.scores.tolist(), reverse=True)
    return (scores[objects - 1] + scores[objects]) / 2 if objects < len(scores) else 0.0


def measure(folder: Path, side: str, threshold: float, repeats: int, device: str) -> dict[str, object]:
    """Peak memory of all calls above what the process held after its imports, and the times of all but the first."""
    import transformers  # noqa: F401 (both sides hold the same libraries before anything is measured)

    import sleuth.runtime.predictor  # noqa: F401

    torch.ones(8, device=device)
    before = memory_mib("VmRSS")
    step = (our_step if side == "sleuth" else peer_step)(folder, device)
    seconds, said = [], {}
    for _ in range(repeats + 1):
        start = time.perf_counter()
        said = step(threshold)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else memory_mib("VmHWM") - before
    return {"memory_mib": peak, "seconds": statistics.median(seconds[1:]), **said}


def in_a_process(folder: Path, side: str, threshold: float, words: argparse.Namespace) -> dict[str, object]:
    """`measure` in a fresh process, so that neither side finds what the other left."""
    command = [sys.executable, __file__, "--device", words.device, "--threads", str(words.threads)]
    command += ["--repeats", str(words.repeats), "--measure", str(folder), side, str(threshold)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def as_markdown(results: dict[str, object]) -> str:
    """The table of the README."""
    rows = []
    for case in results["cases"]:  # type: ignore[attr-defined]
        ours, peer = case["sleuth"], case["peer"]
        row = [f"{case['objects']} of 100 queries above the threshold"]
        row += [f"{side['memory_mib']:.0f} MiB" for side in (ours, peer)]
        row.append(f"{peer['memory_mib'] / ours['memory_mib']:.2f}")
        row += [f"{side['seconds']:.2f} s" for side in (ours, peer)]
        rows.append([*row, f"{peer['seconds'] / ours['seconds']:.2f}"])
    header = ["panoptic DETR-R50, 1080 x 1920", "Sleuth peak", "Hugging Face peak", "times smaller"]
    header += ["Sleuth", "Hugging Face", "times faster"]
    foot = f"Medians of {results['repeats']} calls after one to warm up. {sentence(results['machine'])}"  # type: ignore[arg-type]
    return f"{table(header, rows)}\n\n{foot}"


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="calls of each side, after one to warm up")
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 30, 100], help="queries above the threshold")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--markdown", type=Path, help="put the table between the marks of this page")
    parser.add_argument("--measure", nargs=3, metavar=("FOLDER", "SIDE", "THRESHOLD"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    torch.set_num_threads(words.threads)
    if words.measure:
        folder, side, threshold = words.measure
        print(json.dumps(measure(Path(folder), side, float(threshold), words.repeats, words.device)))
        return
    machine = describe(words.device)
    cases = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        for objects in words.objects:
            threshold = threshold_for(folder, objects, words.device)
            case: dict[str, object] = {"objects": objects, "threshold": threshold}
            case |= {side: in_a_process(folder, side, threshold, words) for side in SIDES}
            cases.append(case)
            print(case, flush=True)
    results: dict[str, object] = {"machine": machine, "repeats": words.repeats, "cases": cases}
    print(as_markdown(results))
    if words.json:
        write_json(words.json, results)
    if words.markdown:
        put_between_marks(words.markdown, "masks-memory", as_markdown(results))


if __name__ == "__main__":
    main()
