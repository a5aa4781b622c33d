"""Rules that the key maps of the original DETR and its descendants share."""

from sleuth.weights.keymap import Rule

_NORM = ("weight", "bias", "running_mean", "running_var")
BOTH = ("weight", "bias")
_COUNTER = "counts training batches; frozen batch norm has no use for it"


def batch_norm(source: str, target: str) -> list[Rule]:
    """The four buffers of a batch norm."""
    return [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in _NORM]


def both(source: str, target: str) -> list[Rule]:
    """Weight and bias."""
    return [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in BOTH]


def attention(source: str, target: str) -> list[Rule]:
    """PyTorch's own attention, whose projections of q, k and v are stacked."""
    stacked = [Rule(f"{source}.in_proj_{leaf}", f"{target}.{{qkv}}.{leaf}", op="split_qkv") for leaf in BOTH]
    return [*stacked, *both(f"{source}.out_proj", f"{target}.out_proj")]


def backbone() -> list[Rule]:
    """Torchvision's ResNet as ``backbone.0``."""
    ours, theirs = "backbone.body", "backbone.0.body"
    rules = [Rule(f"{theirs}.conv1.weight", f"{ours}.conv1.weight"), *batch_norm(f"{theirs}.bn1", f"{ours}.bn1")]
    block = "layer{stage}.{block}"
    rules += [Rule(f"{theirs}.{block}.conv{{n}}.weight", f"{ours}.{block}.conv{{n}}.weight")]
    rules += batch_norm(f"{theirs}.{block}.bn{{n}}", f"{ours}.{block}.bn{{n}}")
    rules += [Rule(f"{theirs}.{block}.downsample.0.weight", f"{ours}.{block}.downsample.0.weight")]
    rules += batch_norm(f"{theirs}.{block}.downsample.1", f"{ours}.{block}.downsample.1")
    counters = ("bn1", f"{block}.bn{{n}}", f"{block}.downsample.1")
    return rules + [Rule(f"{theirs}.{at}.num_batches_tracked", op="drop", reason=_COUNTER) for at in counters]
