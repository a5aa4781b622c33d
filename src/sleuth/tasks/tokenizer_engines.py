"""The two libraries that a tokenizer may rest on, behind one small interface."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import sentencepiece
import tokenizers

from sleuth.errors import UserError


@runtime_checkable
class Engine(Protocol):
    """Holds a vocabulary, and cuts and joins text by it."""

    kind: ClassVar[str]

    @property
    def size(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def ids(self) -> Mapping[str, int]:
        """The id of each piece."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any special token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text that pieces make together."""
        ...

    def piece(self, id: int) -> str:
        """The piece of an id."""
        ...

    def to_card(self) -> dict[str, str]:
        """The vocabulary as plain strings."""
        ...

    @classmethod
    def from_card(cls, card: Mapping[str, str]) -> "Engine":
        """The engine that :meth:`to_card` wrote down."""
        ...


class HuggingFaceEngine:
    """A tokenizer.json of Hugging Face `tokenizers`.

    Args:
        text: the content of the file.

    Raises:
        UserError: it is none.
    """

    kind: ClassVar[str] = "huggingface"

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"not a tokenizer.json: {error}", where="tokenizer", mend="give another file") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.ids: Mapping[str, int] = dict(sorted(self._tokenizer.get_vocab().items(), key=lambda item: item[1]))
        self._pieces = {id: piece for piece, id in self.ids.items()}
        self.size = max(self._pieces, default=-1) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any special token."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text that pieces make together."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def piece(self, id: int) -> str:
        """The piece of an id; empty where the vocabulary has a gap."""
        return self._pieces.get(id, "")

    def to_card(self) -> dict[str, str]:
        """The content of the file."""
        return {"json": self.text}

    @classmethod
    def from_card(cls, card: Mapping[str, str]) -> "HuggingFaceEngine":
        """The engine that :meth:`to_card` wrote down."""
        return cls(_field(card, "json"))


class SentencepieceEngine:
    """A sentencepiece model, with ids of its own or, as Marian has them, of a vocabulary beside it.

    Args:
        model: the content of the file.
        vocabulary: the id of each piece, where they are not the model's; pieces that it lacks are unknown.
        unk: the piece of that vocabulary that stands for them.

    Raises:
        UserError: it is no such model, or the vocabulary lacks ``unk``.
    """

    kind: ClassVar[str] = "sentencepiece"

    def __init__(self, model: bytes, vocabulary: Mapping[str, int] | None = None, unk: str = "<unk>") -> None:
        self.model, self.vocabulary, self.unk = model, vocabulary, unk
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError:
            raise UserError("not a sentencepiece model", where="tokenizer", mend="give a .model or .spm file") from None
        count = self._processor.get_piece_size()
        own = {self._processor.id_to_piece(id): id for id in range(count)}
        self.ids: Mapping[str, int] = own if vocabulary is None else vocabulary
        self._pieces = {id: piece for piece, id in self.ids.items()}
        self.size = max(self._pieces, default=-1) + 1
        if vocabulary is not None and unk not in vocabulary:
            raise UserError(f"the vocabulary lacks {unk}", where="tokenizer", mend="give the vocabulary of this model")

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any special token."""
        if self.vocabulary is None:
            return self._processor.encode(text)
        unknown = self.vocabulary[self.unk]
        return [self.vocabulary.get(piece, unknown) for piece in self._processor.encode(text, out_type=str)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that pieces make together.

        With a vocabulary beside the model, as Hugging Face does it for Marian: what stands for unknown pieces is left
        out, pieces that the model lacks stand as they are spelled, and no space is left at either end.
        """
        if self.vocabulary is None:
            return self._processor.decode(list(ids))
        unknown = self.vocabulary[self.unk]
        text = self._processor.decode_pieces([self.piece(id) for id in ids if id != unknown])
        return text.replace("▁", " ").strip()

    def piece(self, id: int) -> str:
        """The piece of an id; empty where the vocabulary has a gap."""
        return self._pieces.get(id, "")

    def to_card(self) -> dict[str, str]:
        """The model in base64, and the vocabulary beside it as JSON."""
        card = {"model": base64.b64encode(self.model).decode("ascii")}
        if self.vocabulary is not None:
            card |= {"vocabulary": json.dumps(self.vocabulary, ensure_ascii=False), "vocabulary_unk": self.unk}
        return card

    @classmethod
    def from_card(cls, card: Mapping[str, str]) -> "SentencepieceEngine":
        """The engine that :meth:`to_card` wrote down."""
        try:
            model = base64.b64decode(_field(card, "model"), validate=True)
            vocabulary = json.loads(card["vocabulary"]) if "vocabulary" in card else None
        except (binascii.Error, ValueError):
            raise UserError("the sentencepiece model is damaged", where="tokenizer", mend="take another file") from None
        return cls(model, vocabulary, card.get("vocabulary_unk", "<unk>"))


ENGINES: Mapping[str, type[HuggingFaceEngine] | type[SentencepieceEngine]] = {
    engine.kind: engine for engine in (HuggingFaceEngine, SentencepieceEngine)
}

_MEND = "name a tokenizer.json, a sentencepiece model (.model, .spm), or a folder that holds one"


def read_engine(path: Path) -> HuggingFaceEngine | SentencepieceEngine:
    """The engine of a file, or of a folder that holds one.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if path.is_dir():
        found = [path / "tokenizer.json"] if (path / "tokenizer.json").is_file() else []
        found = found or sorted([*path.glob("*.model"), *path.glob("*.spm")])
        if len(found) != 1:
            what = "there are several tokenizers" if found else "there is no tokenizer"
            raise UserError(what, where=path, mend=_MEND)
        path = found[0]
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError("there is no such tokenizer", where=path, mend=_MEND) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error}", where=path, mend=_MEND) from None
    try:
        if path.suffix != ".json":
            return SentencepieceEngine(content)
        return HuggingFaceEngine(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise UserError("not a tokenizer.json: it is not UTF-8", where=path, mend=_MEND) from None
    except UserError as error:
        raise UserError(error.what, where=path, mend=_MEND) from None


def _field(card: Mapping[str, str], name: str) -> str:
    if name not in card:
        raise UserError(f"the tokenizer lacks its {name}", where="tokenizer", mend="take another checkpoint")
    return card[name]
