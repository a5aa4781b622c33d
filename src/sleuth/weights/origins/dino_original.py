"""Checkpoints of the original DINO (IDEA-Research/DINO), read and written."""

from collections.abc import Collection
from pathlib import Path

import torch

from sleuth.errors import UserError
from sleuth.models.dino import DinoConfig
from sleuth.tasks.detection_loss import DetectionLossConfig
from sleuth.weights.checkpoint import LoadedModel
from sleuth.weights.keymap import KeyMap
from sleuth.weights.maps.dino_original import dino_original
from sleuth.weights.origins.deformable_detr_original import check_common, common_numbers, common_options, refusal
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_fields import ACTIVATIONS
from sleuth.weights.origins.original_files import filled, write_weights
from sleuth.weights.origins.writing import plain_state
from sleuth.weights.pickles import PickledWeights

LOSS = DetectionLossConfig(classes="focal", class_weight=1.0, match_class=2.0)
_MEND = "take a checkpoint of IDEA-Research/DINO with a ResNet"
_MARK = "transformer.decoder.ref_point_head.layers.0.weight"

_ONLY = {
    "position_embedding": "sine",
    "pre_norm": False,
    "query_dim": 4,
    "num_patterns": 0,
    "random_refpoints_xy": False,
    "fix_refpoints_hw": -1,
    "two_stage_type": "standard",
    "two_stage_pat_embed": 0,
    "two_stage_add_query_num": 0,
    "two_stage_learn_wh": False,
    "two_stage_keep_all_tokens": False,
    "two_stage_bbox_embed_share": False,
    "two_stage_class_embed_share": False,
    "embed_init_tgt": True,
    "decoder_sa_type": "sa",
    "use_deformable_box_attn": False,
    "add_channel_attention": False,
    "add_pos_value": False,
    "decoder_layer_noise": False,
    "use_detached_boxes_dec_out": False,
    "masks": False,
}
"""Options that change the model, and the one value that can be honoured."""


def is_dino(keys: Collection[str]) -> bool:
    """Whether weights with these names are the original's."""
    return _MARK in keys


def read_dino(
    pickled: PickledWeights, path: Path, *, num_heads: int | None = None, dilation: bool | None = None
) -> LoadedModel:
    """A model from a checkpoint of the original project, ready to answer.

    Sizes are read off the weights, and which heads the layers share. What they do not show is taken from the
    arguments, then from the checkpoint's own options, then as published.

    Args:
        pickled: the weights, and options.
        path: where they came from.
        num_heads: attention heads.
        dilation: whether the last stage of the backbone is dilated (DC5).

    Raises:
        UserError: the file holds another model, or an option that cannot be honoured.
    """
    options, tensors = Fields(pickled.args, path), pickled.tensors
    for name, wanted in _ONLY.items():
        options.expect(name, wanted)
    temperature = options.number("pe_temperatureH", 20.0)
    if options.number("pe_temperatureW", temperature) != temperature:
        raise options.fault("pe_temperatureW", f"pe_temperatureH = {temperature:g} is another")
    activation = options.text("transformer_activation", "relu")
    if activation not in ACTIVATIONS:
        raise options.fault("transformer_activation", f"known: {', '.join(ACTIVATIONS)}")
    heads = options.whole("nheads", 8) if num_heads is None else num_heads
    numbers = common_numbers(tensors, path, heads, mend=_MEND)
    labels, content = (tensors.get(key) for key in ("label_enc.weight", "transformer.tgt_embed.weight"))
    if labels is None or content is None:
        raise UserError("holds no learned labels and queries", where=path, mend=_MEND)

    def shared(head: str) -> bool:
        first = tensors[f"{head.format(0)}.weight"]
        layers = range(1, numbers["decoder_layers"])
        return all(torch.equal(first, tensors.get(f"{head.format(layer)}.weight", first)) for layer in layers)

    try:
        config = DinoConfig(
            **numbers,
            dropout=options.number("dropout", 0.0),
            dilation=options.truth("dilation", False) if dilation is None else dilation,
            activation=ACTIVATIONS[activation],
            temperature=temperature,
            num_queries=len(content),
            shared_class_head=shared("class_embed.{}"),
            shared_box_head=shared("bbox_embed.{}.layers.0"),
            denoising_queries=max(1, options.whole("dn_number", 100)),
            denoising_labels=None if len(labels) - 1 == numbers["num_classes"] else len(labels) - 1,
            label_noise=options.number("dn_label_noise_ratio", 0.5),
            box_noise=options.number("dn_box_noise_scale", 0.4),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=path, mend=_MEND) from error
    return filled(config, _keys(config), pickled, path, mend=_MEND, loss=LOSS)


def write_dino(path: Path, loaded: LoadedModel) -> None:
    """Write a model as the original's code loads it.

    Args:
        path: a .pth file.
        loaded: the model.

    Raises:
        UserError: the original cannot express the model, or the file cannot be written.
    """
    config = loaded.config
    if not isinstance(config, DinoConfig):
        raise TypeError(f"{type(config).__name__} is no DinoConfig")
    refuse = refusal("the original DINO")
    check_common(config.common(), refuse)
    if config.activation == "silu":
        raise refuse("its activation is silu; there, it is relu or gelu")
    if config.backbone_levels == 2:
        raise refuse("its levels start at two maps of the backbone; there, it is 1, 3 or 4")
    if config.dim != 256:
        raise refuse(f"it has dim {config.dim}; there, it is 256")
    if not config.denoising_queries:
        raise refuse("it does not learn to denoise")
    options = {
        **common_options(config.common()),
        **_ONLY,
        "modelname": "dino",
        "num_classes": config.num_classes,
        "num_queries": config.num_queries,
        "return_interm_indices": list(range(4 - config.backbone_levels, 4)),
        "pe_temperatureH": config.temperature,
        "pe_temperatureW": config.temperature,
        "transformer_activation": config.activation,
        "dec_pred_class_embed_share": config.shared_class_head,
        "dec_pred_bbox_embed_share": config.shared_box_head,
        "use_dn": True,
        "dn_number": config.denoising_queries,
        "dn_labelbook_size": config.num_classes if config.denoising_labels is None else config.denoising_labels,
        "dn_label_noise_ratio": config.label_noise,
        "dn_box_noise_scale": config.box_noise,
    }
    write_weights(path, _keys(config).export(plain_state(loaded, counters=False)), options, loaded)


def _keys(config: DinoConfig) -> KeyMap:
    return dino_original(
        levels=config.num_levels,
        decoder_layers=config.decoder_layers,
        shared_class_head=config.shared_class_head,
        shared_box_head=config.shared_box_head,
    )
