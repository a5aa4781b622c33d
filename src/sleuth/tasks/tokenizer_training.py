"""Making a vocabulary from text: byte pairs, a unigram model, words, or characters."""

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sentencepiece
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from sleuth.errors import UserError
from sleuth.tasks.tokenizer import Normalise, Tokenizer
from sleuth.tasks.tokenizer_engines import HuggingFaceEngine, SentencepieceEngine

TokenizerKind = Literal["bpe", "unigram", "words", "characters"]

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
"""Padding, BOS, EOS and unknown: ids 0 to 3 of every vocabulary made here; prefixes follow them."""

# A word with the space before it; digits and Han characters one by one; punctuation apart; spaces to spare one by one.
_WORDS = Regex(r"▁?\p{Han}|▁?\p{N}|▁?[\p{L}\p{M}&&[^\p{Han}]]+|▁?[^▁\p{L}\p{M}\p{N}]+|▁")
_EVERY_CHARACTER = Regex(r"[\s\S]")
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def train_tokenizer(
    lines: Iterable[str],
    kind: TokenizerKind = "bpe",
    vocabulary_size: int = 8000,
    *,
    prefixes: Sequence[str] = (),
    normalise: Normalise = "nfc",
    min_count: int = 1,
    byte_fallback: bool = False,
) -> Tokenizer:
    """A tokenizer of the text of its lines; the same lines give the same vocabulary.

    What it encodes it decodes again as it was, spaces and case included, up to normalisation, characters that the lines
    lack, and ``▁`` (U+2581), which stands for a space. For one vocabulary of two languages, give the lines of both.

    Args:
        lines: sentences.
        kind: ``bpe`` merges frequent pairs; ``unigram`` keeps the pieces that make the text likeliest (sentencepiece);
            ``words`` keeps the most frequent words; ``characters`` the most frequent characters.
        vocabulary_size: most ids, special tokens included; fewer where the text gives no more.
        prefixes: tokens such as ``>>deu<<`` that say what to translate to.
        normalise: what is done to Unicode first, here and whenever the tokenizer is used.
        min_count: drop merges, words and characters that are rarer (not of ``unigram``).
        byte_fallback: spell characters that have no piece as bytes, for 256 more ids; of ``bpe`` and ``unigram``.

    Raises:
        UserError: there is no text, or the vocabulary has no room for it.

    >>> tokenizer = train_tokenizer(["twenty one", "twenty two"], "words", prefixes=[">>num<<"])
    >>> tokenizer.pieces(tokenizer.encode(">>num<< twenty two"))
    ['>>num<<', '▁twenty', '▁two', '</s>']
    """
    # A prefix at the start of a line is a token, not text to learn pieces from.
    first = tuple(prefixes)
    lines = [line.partition("<<")[2].removeprefix(" ") if line.startswith(first) else line for line in lines]
    lines = [line for line in lines if line.strip()]
    if normalise != "none":
        form: Literal["NFC", "NFKC"] = "NFC" if normalise == "nfc" else "NFKC"
        lines = [unicodedata.normalize(form, line) for line in lines]
    if not lines:
        raise UserError("there is no text to make a vocabulary of", where="tokenizer", mend="check the training files")
    if byte_fallback and kind not in ("bpe", "unigram"):
        raise UserError(
            f"a vocabulary of {kind} spells nothing as bytes", where="tokenizer", mend="take bpe or unigram"
        )
    reserved = [*SPECIALS, *dict.fromkeys(prefixes)]
    taken = len(reserved) + (256 if byte_fallback else 0)
    if vocabulary_size <= taken:
        raise UserError(
            f"a vocabulary of {vocabulary_size} has no room for text", where="tokenizer", mend=f"at least {taken + 1}"
        )
    if kind == "unigram":
        engine: Any = SentencepieceEngine(_unigram(lines, vocabulary_size, reserved, byte_fallback))
    elif kind == "bpe":
        engine = HuggingFaceEngine(_byte_pairs(lines, vocabulary_size, reserved, min_count, byte_fallback))
    else:
        skeleton = _skeleton(models.WordLevel({}, unk_token="<unk>"), by_word=kind == "words")
        counts = _count(skeleton, lines)
        if kind == "words":
            reserved.append("▁")  # a space to spare, whether the lines have one or not
            del counts["▁"]
        kept = sorted((piece for piece in counts if counts[piece] >= min_count), key=lambda p: (-counts[p], p))
        engine = HuggingFaceEngine(_with_pieces(skeleton, [*reserved, *kept[: vocabulary_size - len(reserved)]]))
    return Tokenizer(engine, pad="<pad>", bos="<s>", eos="</s>", unk="<unk>", normalise=normalise)


def vocabulary_tokenizer(
    pieces: Sequence[str],
    *,
    by: Literal["spaces", "characters"] = "spaces",
    pad: str | None = None,
    bos: str | None = None,
    eos: str | None = None,
    unk: str = "<unk>",
) -> Tokenizer:
    """A tokenizer of a list of pieces, for text that is cut already: at its spaces, or at every character.

    Args:
        pieces: the vocabulary, in the order of its ids.
        by: what parts the pieces of a text, and joins them again.
        pad: the token that fills up a batch; None finds the usual names.
        bos: the token before a sentence; None finds it, and there may be none.
        eos: the token after a sentence; None finds it.
        unk: what stands for text that has no piece.

    Raises:
        UserError: the vocabulary lacks one of them.
    """
    tokenizer = tokenizers.Tokenizer(models.WordLevel({}, unk_token=unk))
    if by == "spaces":
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(_EVERY_CHARACTER, behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
    return Tokenizer(HuggingFaceEngine(_with_pieces(tokenizer, pieces)), pad=pad, bos=bos, eos=eos, unk=unk)


def _skeleton(model: models.Model, *, by_word: bool) -> tokenizers.Tokenizer:
    """A tokenizer without vocabulary, that turns spaces into ``▁`` and puts one before the first word."""
    tokenizer = tokenizers.Tokenizer(model)
    marks: list[normalizers.Normalizer] = [normalizers.Replace(" ", "▁")]
    joins: list[decoders.Decoder] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if by_word:
        marks.append(normalizers.Prepend("▁"))
        joins.append(decoders.Strip(" ", 1, 0))
    tokenizer.normalizer = normalizers.Sequence(marks)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_WORDS if by_word else _EVERY_CHARACTER, behavior="isolated")
    tokenizer.decoder = decoders.Sequence(joins)
    return tokenizer


def _count(skeleton: tokenizers.Tokenizer, lines: Iterable[str]) -> Counter[str]:
    """How often each piece occurs that the skeleton cuts lines into."""
    counts: Counter[str] = Counter()
    for line in lines:
        marked = skeleton.normalizer.normalize_str(line)
        counts.update(piece for piece, _ in skeleton.pre_tokenizer.pre_tokenize_str(marked))
    return counts


def _with_pieces(skeleton: tokenizers.Tokenizer, pieces: Sequence[str]) -> str:
    page = json.loads(skeleton.to_str())
    page["model"]["vocab"] = {piece: id for id, piece in enumerate(pieces)}
    return json.dumps(page, ensure_ascii=False)


def _byte_pairs(
    lines: Sequence[str], vocabulary_size: int, reserved: Sequence[str], min_count: int, byte_fallback: bool
) -> str:
    """A tokenizer.json of merges.

    Special tokens are in its vocabulary but not among its added tokens, so that no text is ever taken for one.
    """
    tokenizer = _skeleton(models.BPE(unk_token="<unk>", byte_fallback=byte_fallback), by_word=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=min_count,
        special_tokens=[*reserved, *(_BYTES if byte_fallback else ())],
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    page = json.loads(tokenizer.to_str())
    page["added_tokens"] = []
    return json.dumps(page, ensure_ascii=False)


def _unigram(lines: Sequence[str], vocabulary_size: int, reserved: Sequence[str], byte_fallback: bool) -> bytes:
    """A sentencepiece model of likely pieces. One thread: the sums of several differ in their last digits."""
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type="unigram",
            vocab_size=vocabulary_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            byte_fallback=byte_fallback,
            max_sentence_length=2**20,
            num_threads=1,
            minloglevel=3,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            control_symbols=list(reserved[len(SPECIALS) :]),
        )
    except RuntimeError as error:
        raise UserError(f"no vocabulary can be made: {error}", where="tokenizer", mend="give more text") from None
    return written.getvalue()
