"""Text to token ids and back, whichever library holds the vocabulary; kept whole within a checkpoint's card."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sleuth.errors import UserError
from sleuth.tasks.tokenizer_engines import ENGINES, Engine, read_engine

Normalise = Literal["none", "nfc", "nfkc"]
"""What is done to Unicode before the vocabulary is asked.

``nfc`` joins a letter and its marks (``u`` + diaeresis is ``ü``) and keeps what a reader sees. ``nfkc`` also folds
forms that differ to the eye, such as full-width digits, and cannot be undone. ``none`` is for tokenizers made
elsewhere, which do what they do themselves.
"""

_NORMALISE: Mapping[str, Normalise] = {"none": "none", "nfc": "nfc", "nfkc": "nfkc"}
_PREFIX = re.compile(r">>[^<>\s]+<<")
_SPECIAL: Mapping[str, tuple[str, ...]] = {
    "pad": ("<pad>", "[PAD]", "<PAD>", "<blank>"),
    "bos": ("<s>", "[BOS]", "<bos>", "<BOS>", "[CLS]"),
    "eos": ("</s>", "[EOS]", "<eos>", "<EOS>", "[SEP]", "<|endoftext|>"),
    "unk": ("<unk>", "[UNK]", "<UNK>"),
}
_WORD_STARTS = ("▁", "Ġ")


@dataclass(frozen=True)
class Word:
    """One word of a tokenised sentence.

    Args:
        text: as a reader sees it.
        positions: places of its pieces among the ids.
    """

    text: str
    positions: tuple[int, ...]


class Tokenizer:
    """Cuts a sentence into the pieces of a vocabulary, and joins them again.

    The first piece may be a prefix such as ``>>deu<<`` that says what to translate to; it is recognised at the very
    start of a text only, and only if the vocabulary has it. Any other special token, written out in a text, is text.

    Args:
        engine: holds the vocabulary.
        pad: the token that fills up a batch; None finds the usual names. A vocabulary without one gets an id of its own
            at the end.
        bos: the token before a sentence; None finds it, and there may be none.
        eos: the token after a sentence.
        unk: what stands for text that has no piece; there may be none.
        normalise: what is done to Unicode first.

    Raises:
        UserError: the vocabulary lacks a token that was named, or any that could end a sentence.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        pad: str | None = None,
        bos: str | None = None,
        eos: str | None = None,
        unk: str | None = None,
        normalise: Normalise = "none",
    ) -> None:
        self.engine, self.normalise = engine, normalise
        self._named = {"pad": pad, "bos": bos, "eos": eos, "unk": unk}
        ids = {role: self._special_id(role, name) for role, name in self._named.items()}
        if ids["eos"] is None:
            raise UserError(
                "the tokenizer has no token that ends a sentence", where="tokenizer", mend="name it, such as </s>"
            )
        self.eos_id: int = ids["eos"]
        self.bos_id, self.unk_id = ids["bos"], ids["unk"]
        self.pad_id = engine.size if ids["pad"] is None else ids["pad"]
        self._hidden = {self.pad_id, self.eos_id} | ({self.bos_id} if self.bos_id is not None else set())
        self.prefixes = tuple(piece for piece in engine.ids if _PREFIX.fullmatch(piece))

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """A tokenizer from tokenizer.json, from a sentencepiece model, or from a folder that holds one of them.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        return cls(read_engine(Path(path)))

    @classmethod
    def from_card(cls, card: Mapping[str, str]) -> "Tokenizer":
        """The tokenizer that :meth:`to_card` wrote down.

        Raises:
            UserError: something is missing or of an unknown kind.
        """
        fields = dict(card)
        kind = fields.pop("engine", "")
        if kind not in ENGINES:
            raise UserError(
                f"there is no tokenizer of kind {kind!r}", where="tokenizer", mend=f"known: {', '.join(ENGINES)}"
            )
        names = {role: fields.pop(role) for role in _SPECIAL if role in fields}
        normalise = fields.pop("normalise", "none")
        if normalise not in _NORMALISE:
            raise UserError(f"unknown normalisation {normalise!r}", where="tokenizer", mend="none, nfc or nfkc")
        return cls(ENGINES[kind].from_card(fields), normalise=_NORMALISE[normalise], **names)

    def to_card(self) -> dict[str, str]:
        """Everything as plain strings, for keeping in a checkpoint."""
        named = {role: name for role, name in self._named.items() if name is not None}
        return {"engine": self.engine.kind, "normalise": self.normalise, **named, **self.engine.to_card()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_card() == other.to_card()

    def __hash__(self) -> int:
        return hash((self.engine.kind, self.engine.size))

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are, that of padding included."""
        return max(self.engine.size, self.pad_id + 1)

    @property
    def start_id(self) -> int:
        """What a decoder starts from: BOS, or padding where there is no BOS."""
        return self.pad_id if self.bos_id is None else self.bos_id

    def __len__(self) -> int:
        """How many ids there are."""
        return self.vocabulary_size

    def encode(self, text: str, *, eos: bool = True, prefix: str | None = None) -> list[int]:
        """The ids of a sentence.

        Args:
            text: the sentence; it may begin with a prefix.
            eos: end with the token that ends a sentence.
            prefix: a prefix to put before it.

        Raises:
            UserError: the vocabulary has no such prefix.
        """
        if self.normalise == "nfc":
            text = unicodedata.normalize("NFC", text)
        elif self.normalise == "nfkc":
            text = unicodedata.normalize("NFKC", text)
        first: list[int] = []
        if prefix is not None:
            first = [self.prefix_id(prefix)]
        elif text.startswith(">>") and (found := _PREFIX.match(text)):
            first, text = [self.prefix_id(found[0])], text[found.end() :].removeprefix(" ")
        ids = first + self.engine.encode(text)
        return [*ids, self.eos_id] if eos else ids

    def prefix_id(self, prefix: str) -> int:
        """The id of a prefix such as ``>>deu<<``.

        Raises:
            UserError: the vocabulary does not have it.
        """
        if prefix in self.prefixes:
            return self.engine.ids[prefix]
        known = ", ".join(self.prefixes[:12]) + (", ..." if len(self.prefixes) > 12 else "")
        mend = f"it knows {known}" if known else "it knows none: leave it out"
        raise UserError("the model does not know this language prefix", where=prefix, mend=mend)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without padding, BOS, EOS and prefixes."""
        prefixes = {self.engine.ids[prefix] for prefix in self.prefixes}
        return self.engine.decode([id for id in ids if id not in self._hidden and id not in prefixes])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each id's piece as the vocabulary spells it, ``▁`` where a word begins."""
        return [self.engine.piece(id) if id < self.engine.size else "<pad>" for id in ids]

    def words(self, ids: Sequence[int]) -> list[Word]:
        """The words of a sentence, each with the places of its pieces; special tokens belong to none.

        Words are what spaces part. Chinese and Japanese characters stand alone, as no spaces part them.
        """
        groups: list[list[int]] = []
        alone = True
        special = self._hidden | {self.engine.ids[prefix] for prefix in self.prefixes}
        for place, (id, piece) in enumerate(zip(ids, self.pieces(ids), strict=True)):
            if id in special:
                alone = True
                continue
            bare = piece.lstrip("".join(_WORD_STARTS))
            apart = bool(bare) and _stands_alone(bare[0])
            if alone or apart or piece.startswith(_WORD_STARTS):
                groups.append([])
            groups[-1].append(place)
            # A lone space belongs to the word that follows it.
            alone = apart
        words = [Word(self.decode([ids[place] for place in group]).strip(), tuple(group)) for group in groups]
        return [word for word in words if word.text]

    def check_size(self, embeddings: int, *, where: object = "tokenizer") -> None:
        """Refuse a model with fewer embeddings than there are ids.

        Raises:
            UserError: tokenizer and model do not belong together.
        """
        if self.vocabulary_size > embeddings:
            raise UserError(
                f"the tokenizer has {self.vocabulary_size:,} tokens, the model embeds {embeddings:,}",
                where=where,
                mend="use the tokenizer that the model was trained with",
            )

    def _special_id(self, role: str, name: str | None) -> int | None:
        if name is None:
            return next((self.engine.ids[known] for known in _SPECIAL[role] if known in self.engine.ids), None)
        if name not in self.engine.ids:
            raise UserError(f"the tokenizer has no token {name!r}", where="tokenizer", mend=f"name another as {role}")
        return self.engine.ids[name]


def _stands_alone(character: str) -> bool:
    """Whether a character is of a script that writes without spaces: Han, Hiragana, Katakana."""
    return unicodedata.name(character, "").startswith(("CJK", "HIRAGANA", "KATAKANA"))
