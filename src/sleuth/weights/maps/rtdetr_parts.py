"""Rules shared by the maps of RT-DETR and D-FINE: their backbones and hybrid encoders, in the original spelling."""

from sleuth.weights.keymap import Rule

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_BOTH = ("weight", "bias")


def norm_rules(source: str, target: str) -> list[Rule]:
    """Batch norm; frozen ones have no counter on either side."""
    return [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in _NORM]


def conv_norm_rules(source: str, target: str) -> list[Rule]:
    """A convolution without bias and its norm, both sides under the names ``conv`` and ``norm``."""
    return [Rule(f"{source}.conv.weight", f"{target}.conv.weight"), *norm_rules(f"{source}.norm", f"{target}.norm")]


def both_rules(source: str, target: str) -> list[Rule]:
    """A weight and a bias."""
    return [Rule(f"{source}.{leaf}", f"{target}.{leaf}") for leaf in _BOTH]


def self_attention_rules(source: str, target: str) -> list[Rule]:
    """PyTorch's multi-head attention, which stacks its projections."""
    rules = [Rule(f"{source}.in_proj_{leaf}", f"{target}.{{qkv}}.{leaf}", op="split_qkv") for leaf in _BOTH]
    return rules + both_rules(f"{source}.out_proj", f"{target}.out_proj")


def encoder_layer_rules(source: str, target: str) -> list[Rule]:
    """One post-norm transformer encoder layer with stacked projections."""
    rules = self_attention_rules(f"{source}.self_attn", f"{target}.self_attention")
    rules += both_rules(f"{source}.linear{{n}}", f"{target}.feedforward.linear{{n}}")
    return rules + both_rules(f"{source}.norm{{n}}", f"{target}.norm{{n}}")


def resnet_d_rules(source: str = "backbone", target: str = "backbone.body") -> list[Rule]:
    """RT-DETR's PResNet of variant d, any depth."""
    rules: list[Rule] = []
    # Our stem is timm's: convolutions and norms at 0, 1, 3, 4 of a sequence, and the last norm outside of it.
    for n, (conv, norm) in enumerate((("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1")), start=1):
        rules.append(Rule(f"{source}.conv1.conv1_{n}.conv.weight", f"{target}.{conv}.weight"))
        rules += norm_rules(f"{source}.conv1.conv1_{n}.norm", f"{target}.{norm}")
    for stage in range(4):
        theirs, ours = f"{source}.res_layers.{stage}.blocks.{{block}}", f"{target}.layer{stage + 1}.{{block}}"
        for n, branch in enumerate("abc", start=1):
            rules.append(Rule(f"{theirs}.branch2{branch}.conv.weight", f"{ours}.conv{n}.weight"))
            rules += norm_rules(f"{theirs}.branch2{branch}.norm", f"{ours}.bn{n}")
        # From the second stage on a pooling precedes the projection, and both are named.
        short = f"{theirs}.short" if stage == 0 else f"{theirs}.short.conv"
        rules.append(Rule(f"{short}.conv.weight", f"{ours}.downsample.1.weight"))
        rules += norm_rules(f"{short}.norm", f"{ours}.downsample.2")
    return rules


def hgnetv2_rules(source: str = "backbone", target: str = "backbone.body") -> list[Rule]:
    """D-FINE's HGNetV2, any size, with or without learnable affine blocks; timm's names are the same."""
    block = "stages.{stage}.blocks.{block}"
    places = [f"stem.stem{n}" for n in ("1", "2a", "2b", "3", "4")]
    places += ["stages.{stage}.downsample", f"{block}.aggregation.{{n}}", f"{block}.layers.{{layer}}"]
    places += [f"{block}.layers.{{layer}}.conv{{n}}"]
    rules: list[Rule] = []
    for place in places:
        rules.append(Rule(f"{source}.{place}.conv.weight", f"{target}.{place}.conv.weight"))
        rules += norm_rules(f"{source}.{place}.bn", f"{target}.{place}.bn")
        rules += [Rule(f"{source}.{place}.lab.{leaf}", f"{target}.{place}.lab.{leaf}") for leaf in ("scale", "bias")]
    return rules


def _around_fusion(source: str, target: str) -> list[Rule]:
    rules = conv_norm_rules(f"{source}.input_proj.{{level}}", f"{target}.input_proj.{{level}}")
    rules += encoder_layer_rules(f"{source}.encoder.0.layers.{{layer}}", f"{target}.intra_scale.layers.{{layer}}")
    return rules + conv_norm_rules(f"{source}.lateral_convs.{{step}}", f"{target}.laterals.{{step}}")


def _csp_rules(source: str, target: str) -> list[Rule]:
    rules = conv_norm_rules(f"{source}.conv{{n}}", f"{target}.conv{{n}}")
    return rules + conv_norm_rules(f"{source}.bottlenecks.{{block}}.conv{{n}}", f"{target}.blocks.{{block}}.conv{{n}}")


def rtdetr_encoder_rules(source: str = "encoder", target: str = "encoder") -> list[Rule]:
    """RT-DETR's hybrid encoder."""
    rules = _around_fusion(source, target)
    for theirs, ours in (("fpn_blocks", "top_down"), ("pan_blocks", "bottom_up")):
        rules += _csp_rules(f"{source}.{theirs}.{{step}}", f"{target}.{ours}.{{step}}")
    return rules + conv_norm_rules(f"{source}.downsample_convs.{{step}}", f"{target}.downs.{{step}}")


def dfine_encoder_rules(source: str = "encoder", target: str = "encoder") -> list[Rule]:
    """D-FINE's hybrid encoder."""
    rules = _around_fusion(source, target)
    for theirs, ours in (("fpn_blocks", "top_down"), ("pan_blocks", "bottom_up")):
        theirs, ours = f"{source}.{theirs}.{{step}}", f"{target}.{ours}.{{step}}"
        rules += conv_norm_rules(f"{theirs}.cv1", f"{ours}.conv1")
        for branch in (1, 2):
            rules += _csp_rules(f"{theirs}.cv{branch + 1}.0", f"{ours}.branch{branch}.0")
            rules += conv_norm_rules(f"{theirs}.cv{branch + 1}.1", f"{ours}.branch{branch}.1")
        rules += conv_norm_rules(f"{theirs}.cv4", f"{ours}.conv2")
    down = f"{source}.downsample_convs.{{step}}.0.cv{{n}}"
    return rules + conv_norm_rules(down, f"{target}.downs.{{step}}.conv{{n}}")
