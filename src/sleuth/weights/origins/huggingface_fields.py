"""Fields of configurations of Hugging Face's library that all its detectors have."""

from collections.abc import Mapping
from typing import Literal

from sleuth.weights.origins.fields import Fields

ACTIVATIONS: Mapping[str, Literal["relu", "gelu", "silu"]] = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
}

# What a configuration of that library may hold and a detector does not read.
BOOKKEEPING = frozenset(
    {
        # about the file, the labels the other way round, and how tensors are stored or kernels chosen
        *(
            "_name_or_path",
            "_commit_hash",
            "transformers_version",
            "label2id",
            "_num_labels",
            "torch_dtype",
            "dtype",
            "architectures",
        ),
        *("_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "torchscript"),
        *("use_bfloat16", "tf_legacy_loss", "gradient_checkpointing"),
        # what a call returns besides the answer
        *("return_dict", "output_hidden_states", "output_attentions", "use_return_dict"),
        # every configuration has them; a detector has no use for text, generation or chunks
        *("is_encoder_decoder", "is_decoder", "add_cross_attention", "cross_attention_hidden_size", "use_cache"),
        *("tie_encoder_decoder", "tie_word_embeddings", "chunk_size_feed_forward", "problem_type", "finetuning_task"),
        *("tokenizer_class", "prefix", "task_specific_params", "pruned_heads"),
        *("bos_token_id", "pad_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id"),
        *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "temperature"),
        *("diversity_penalty", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty"),
        *("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences"),
        *("output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id"),
        *("remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"),
        # left over from a language model; its own DETR reads none of them
        *("classifier_dropout", "max_position_embeddings", "scale_embedding"),
        # how fresh weights are drawn, and layers left out while training, which it no longer does
        *("init_std", "init_xavier_std", "encoder_layerdrop", "decoder_layerdrop"),
        # weights come from the file, whether or not the backbone's came from elsewhere
        "use_pretrained_backbone",
    }
)


def agree(fields: Fields, name: str, alias: str) -> None:
    """A field and its other name say the same, where both are there."""
    if name in fields and alias in fields and fields.values[name] != fields.values[alias]:
        raise fields.fault(alias, f"{name} = {fields.values[name]!r} says otherwise")
