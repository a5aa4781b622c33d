"""How Hugging Face's translators are meant to be asked: generation_config.json, or config.json where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sleuth.errors import UserError
from sleuth.models.seq2seq import Seq2SeqConfig
from sleuth.tasks.decoding.options import DecodingOptions
from sleuth.weights.origins.fields import Fields

# What that library does where the files say nothing.
_MAX_LENGTH, _TOP_K = 20, 50
# Ways of asking that ours has not: each may stand at the value that does nothing.
_NEUTRAL: Mapping[str, object] = {
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "typical_p": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "remove_invalid_values": False,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_return_sequences": 1,
}
_ABSENT = (
    *("forced_bos_token_id", "suppress_tokens", "begin_suppress_tokens", "force_words_ids", "constraints"),
    *("sequence_bias", "guidance_scale", "penalty_alpha", "exponential_decay_length_penalty", "min_p"),
)


@dataclass(frozen=True)
class Generation:
    """How a model is meant to be asked, unless one asks otherwise.

    Args:
        options: of the search.
        banned_ids: words that are never emitted.
    """

    options: DecodingOptions
    banned_ids: tuple[int, ...] = ()


def read_generation(values: Mapping[str, Any], where: object, *, eos_id: int, start_id: int) -> Generation:
    """How a model is meant to be asked.

    That library counts the token that decoding starts from into every length; here it does not count.

    Args:
        values: the fields of the file that counts.
        where: that file, for messages.
        eos_id: ends a sentence by config.json. It cannot be banned.
        start_id: what decoding starts from by config.json.

    Raises:
        UserError: a field of the wrong kind, or one that cannot be honoured.
    """
    fields = Fields(values, where)
    for name, neutral in _NEUTRAL.items():
        fields.expect(name, neutral)
    for name in _ABSENT:
        if name in fields:
            raise fields.fault(name, "it is not supported")
    for name, wanted in (("eos_token_id", eos_id), ("decoder_start_token_id", start_id)):
        fields.expect(name, wanted)
    if fields.any("forced_eos_token_id", eos_id) != eos_id:
        raise fields.fault("forced_eos_token_id", f"only the end of the sentence, {eos_id}, can be forced")
    early = fields.any("early_stopping", False)
    if early not in (True, False, "never"):
        raise fields.fault("early_stopping", "only true, false and never are known")
    sample = fields.truth("do_sample", False)
    longest = fields.whole("max_new_tokens", fields.whole("max_length", _MAX_LENGTH) - 1)
    top_k = fields.whole("top_k", _TOP_K) if sample else 0
    try:
        options = DecodingOptions(
            beams=fields.whole("num_beams", 1),
            penalty="power",
            length_penalty=fields.number("length_penalty", 1.0),
            early_stopping=early,
            max_length=longest,
            min_length=max(fields.whole("min_length", 0) - 1, 0),
            force_eos="forced_eos_token_id" in fields,
            sample=sample,
            temperature=fields.number("temperature", 1.0) if sample else 1.0,
            top_k=top_k or None,
            top_p=fields.number("top_p", 1.0) if sample else 1.0,
            repetition_penalty=fields.number("repetition_penalty", 1.0),
            no_repeat_ngram=fields.whole("no_repeat_ngram_size", 0),
            renormalise=fields.truth("renormalize_logits", False),
        )
    except ValueError as error:
        raise UserError(f"the numbers make no search: {error}", where=where) from error
    return Generation(options, _banned(fields, eos_id))


def _banned(fields: Fields, eos_id: int) -> tuple[int, ...]:
    banned = []
    words = fields.any("bad_words_ids", [])
    for word in words if isinstance(words, list) else [None]:
        if not isinstance(word, list) or len(word) != 1 or type(word[0]) is not int:
            raise fields.fault("bad_words_ids", "only words of one token each can be banned")
        if word[0] != eos_id:  # that library leaves it out as well
            banned.append(word[0])
    return tuple(dict.fromkeys(banned))


def generation_json(config: Seq2SeqConfig, options: DecodingOptions) -> dict[str, Any]:
    """The generation_config.json of a model.

    GNMT's length penalty, which that library lacks, is left out: there, greedy search is what is asked for then.

    Args:
        config: of the model.
        options: how it is meant to be asked.
    """
    values: dict[str, Any] = {
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "decoder_start_token_id": config.bos_id,
        "bad_words_ids": [[word] for word in config.banned_ids] or None,
        "max_length": min(options.max_length, config.max_positions) + 1,
        "forced_eos_token_id": config.eos_id if options.force_eos else None,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram,
        "renormalize_logits": options.renormalise,
        "num_beams": 1,
    }
    if options.min_length:
        values["min_length"] = options.min_length + 1
    if options.sample:
        values |= {"do_sample": True, "temperature": options.temperature, "top_p": options.top_p}
        values["top_k"] = options.top_k or 0
    if options.beams > 1 and options.penalty == "power":
        values |= {"num_beams": options.beams, "early_stopping": options.early_stopping}
        values["length_penalty"] = options.length_penalty
    return {name: value for name, value in values.items() if value is not None or name == "forced_eos_token_id"}
