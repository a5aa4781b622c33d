"""Hugging Face's Marian as a peer: built without a download, given our weights, with the settings of opus-mt models."""

import torch
from torch import Tensor
from transformers import GenerationConfig, MarianConfig, MarianMTModel

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq

# The numbers of opus-mt models, whose decoder starts from the padding word, which is never emitted.
OPUS_MT = Seq2SeqConfig(
    source_vocab=58_101,
    target_vocab=58_101,
    dim=512,
    num_heads=8,
    encoder_layers=6,
    decoder_layers=6,
    feedforward_dim=2048,
    dropout=0.1,
    attention_dropout=0.0,
    activation_dropout=0.0,
    activation="silu",
    sine_layout="halves",
    tie="all",
    output_bias=True,
    pad_id=58_100,
    bos_id=58_100,
    eos_id=0,
    banned_ids=(58_100,),
)
_NAMES = {
    "self_attention.": "self_attn.",
    "cross_attention.": "encoder_attn.",
    "feedforward.linear1": "fc1",
    "feedforward.linear2": "fc2",
}
_NORMS = {
    "encoder": {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"},
    "decoder": {"norm1": "self_attn_layer_norm", "norm2": "encoder_attn_layer_norm", "norm3": "final_layer_norm"},
}


def build_ours(config: Seq2SeqConfig) -> Seq2Seq:
    """Random weights, and no sentence that ends before its limit: so that both sides do the same work."""
    model = build_seq2seq(config)
    with torch.no_grad():
        model.head.bias.normal_()
        model.head.bias[config.eos_id] = -1e4
    return model


def build_peer(config: Seq2SeqConfig) -> MarianMTModel:
    """Hugging Face's model of the same numbers, with its own fused attention."""
    return MarianMTModel(
        MarianConfig(
            vocab_size=config.target_vocab,
            d_model=config.dim,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.num_heads,
            decoder_attention_heads=config.num_heads,
            encoder_ffn_dim=config.feedforward_dim,
            decoder_ffn_dim=config.feedforward_dim,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            activation_function=config.activation,
            max_position_embeddings=config.max_positions,
            scale_embedding=True,
            pad_token_id=config.pad_id,
            decoder_start_token_id=config.bos_id,
            eos_token_id=config.eos_id,
            forced_eos_token_id=config.eos_id,
        )
    )


def share_weights(ours: Seq2Seq, peer: MarianMTModel) -> None:
    """Copy our weights into the peer; none of its own is left."""
    theirs: dict[str, Tensor] = {
        "model.shared.weight": ours.target_embedding.table.weight,
        "final_logits_bias": ours.head.bias[None],
    }
    for key, value in ours.state_dict().items():
        stack = key.split(".")[0]
        if stack in _NORMS:
            for mine, name in {**_NAMES, **_NORMS[stack]}.items():
                key = key.replace(mine, name)
            theirs[f"model.{key}"] = value
    for table in ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"):
        theirs[table] = theirs["model.shared.weight"]
    missing, unknown = peer.load_state_dict(theirs, strict=False)
    left = [key for key in missing if "embed_positions" not in key]
    assert not left, left
    assert not unknown, unknown


def generation(config: Seq2SeqConfig, *, beams: int, words: int) -> GenerationConfig:
    """The generation settings that opus-mt models come with, for a fixed number of words."""
    return GenerationConfig(
        num_beams=beams,
        max_new_tokens=words,
        bad_words_ids=[[config.pad_id]],
        forced_eos_token_id=config.eos_id,
        pad_token_id=config.pad_id,
        eos_token_id=config.eos_id,
        decoder_start_token_id=config.bos_id,
        do_sample=False,
    )
