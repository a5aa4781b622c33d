"""The config.json of Hugging Face's Marian."""

from collections.abc import Mapping
from typing import Any, Literal

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig
from sleuth.weights.maps.marian_huggingface import Tied
from sleuth.weights.origins.fields import Fields
from sleuth.weights.origins.huggingface_fields import ACTIVATIONS, BOOKKEEPING

MODEL_TYPE = "marian"
ARCHITECTURE = "MarianMTModel"

_ACTIVATIONS: Mapping[str, Literal["relu", "gelu", "gelu_tanh", "silu"]] = {
    **ACTIVATIONS,
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}

# Left over from the configuration of another model; Marian reads none of them.
_IDLE = frozenset(
    {
        *("classif_dropout", "extra_pos_embeddings", "force_bos_token_to_be_generated", "num_hidden_layers"),
        *("id2label", "num_labels", "renormalize_logits"),
    }
)
# What the first converted models say of themselves; other values were another model.
_FIXED: Mapping[str, bool] = {
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "add_bias_logits": False,
    "do_blenderbot_90_layernorm": False,
    "static_position_embeddings": True,
    "is_encoder_decoder": True,
    "is_decoder": False,
    "tie_word_embeddings": True,
}
_READ = frozenset(
    {
        *("model_type", "vocab_size", "decoder_vocab_size", "d_model", "hidden_size", "max_position_embeddings"),
        *("encoder_layers", "encoder_ffn_dim", "encoder_attention_heads", "num_attention_heads"),
        *("decoder_layers", "decoder_ffn_dim", "decoder_attention_heads"),
        *("activation_function", "dropout", "attention_dropout", "activation_dropout", "scale_embedding"),
        *("share_encoder_decoder_embeddings", *_FIXED),
    }
)


def tied_by(values: Mapping[str, Any], where: object) -> Tied:
    """Which tables are one.

    Raises:
        UserError: the field is of the wrong kind.
    """
    return "all" if Fields(values, where).truth("share_encoder_decoder_embeddings", True) else "target_output"


def read_config(values: Mapping[str, Any], where: object, banned_ids: tuple[int, ...] = ()) -> Seq2SeqConfig:
    """The numbers of a model.

    Args:
        values: its config.json.
        where: the file, for messages.
        banned_ids: words that are never emitted, of `read_generation`.

    Raises:
        UserError: a field of the wrong kind, or one that cannot be honoured.
    """
    fields = Fields(values, where)
    fields.known(_READ, _IDLE, BOOKKEEPING)
    for name, wanted in _FIXED.items():
        fields.expect(name, wanted)
    fields.expect("model_type", MODEL_TYPE)
    activation = fields.text("activation_function", "gelu")
    if activation not in _ACTIVATIONS:
        raise fields.fault("activation_function", f"known: {', '.join(_ACTIVATIONS)}")
    tied, vocabulary = tied_by(values, where), fields.whole("vocab_size", 58101)
    target = fields.whole("decoder_vocab_size", vocabulary)
    if tied == "all" and target != vocabulary:
        raise fields.fault("decoder_vocab_size", f"embeddings are shared, and vocab_size = {vocabulary}")
    heads = fields.whole("encoder_attention_heads", fields.whole("num_attention_heads", 16))
    try:
        return Seq2SeqConfig(
            source_vocab=vocabulary,
            target_vocab=target,
            dim=fields.whole("d_model", fields.whole("hidden_size", 1024)),
            num_heads=heads,
            encoder_layers=fields.whole("encoder_layers", 12),
            decoder_layers=fields.whole("decoder_layers", 12),
            feedforward_dim=fields.whole("encoder_ffn_dim", 4096),
            decoder_num_heads=fields.whole("decoder_attention_heads", 16),
            decoder_feedforward_dim=fields.whole("decoder_ffn_dim", 4096),
            dropout=fields.number("dropout", 0.1),
            attention_dropout=fields.number("attention_dropout", 0.0),
            activation_dropout=fields.number("activation_dropout", 0.0),
            activation=_ACTIVATIONS[activation],
            positions="sine",
            sine_layout="halves",
            max_positions=fields.whole("max_position_embeddings", 1024),
            scale_embedding=fields.truth("scale_embedding", False),
            tie=tied,
            output_bias=True,
            pad_id=fields.whole("pad_token_id", 58100),
            bos_id=fields.whole("decoder_start_token_id", 58100),
            eos_id=fields.whole("eos_token_id", 0),
            banned_ids=banned_ids,
        )
    except ValueError as error:
        raise UserError(f"the numbers make no model: {error}", where=where) from error


def config_json(config: Seq2SeqConfig) -> dict[str, Any]:
    """The config.json of a model.

    Raises:
        UserError: Hugging Face's Marian cannot express the model.
    """
    _check_expressible(config)
    dropout = config.dropout
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "vocab_size": config.source_vocab,
        "decoder_vocab_size": config.target_vocab,
        "share_encoder_decoder_embeddings": config.tie == "all",
        "tie_word_embeddings": True,
        "d_model": config.dim,
        "max_position_embeddings": config.max_positions,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.num_heads,
        "encoder_ffn_dim": config.feedforward_dim,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.decoder_num_heads or config.num_heads,
        "decoder_ffn_dim": config.decoder_feedforward_dim or config.feedforward_dim,
        "activation_function": "gelu_pytorch_tanh" if config.activation == "gelu_tanh" else config.activation,
        "dropout": dropout,
        "attention_dropout": dropout if config.attention_dropout is None else config.attention_dropout,
        "activation_dropout": dropout if config.activation_dropout is None else config.activation_dropout,
        "scale_embedding": config.scale_embedding,
        "is_encoder_decoder": True,
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "decoder_start_token_id": config.bos_id,
        # Without this field its own default, the id 0, would be forced at the end.
        "forced_eos_token_id": None,
    }


def _check_expressible(config: Seq2SeqConfig) -> None:
    sines = (config.sine_endpoint, config.position_start)
    reasons = {
        "it normalises before attention (pre_norm)": config.pre_norm,
        "its stacks end with a norm (final_norm)": bool(config.final_norm),
        "it normalises embeddings (norm_embedding)": config.norm_embedding,
        "its positions are learned": config.positions == "learned",
        "its sine positions are not those of the paper": config.positions == "sine" and sines != (False, 0),
        f"its tables are tied otherwise (tie = {config.tie!r})": config.tie not in ("all", "target_output"),
    }
    if found := next((reason for reason, holds in reasons.items() if holds), None):
        what = f"Hugging Face's Marian cannot express this model: {found}"
        raise UserError(what, mend="use it with Sleuth, or convert it to ctranslate2")
