"""Texts to token ids, by the model's own tokenizer. Thread-safe: no tokenizer is changed after it is made."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from tokenizers import Encoding, Tokenizer

from embedding_service.backends.base import Batch, ModelError, TokenIds
from embedding_service.core.model import ModelSpec

Direction = Literal["left", "right"]

# TEI's MAX_CHAR_MULTIPLIER: no text needs more characters than 250 for each token of the window. Without it a text of
# 2 MB takes 2 s and 600 MB to tokenise, to keep 256 tokens of it.
_CHARS_PER_TOKEN = 250

# Encodings hold far more than ids (70 MB for 250 KB of text), so a request is tokenised in groups of so many texts and
# so many characters, or one text.
_GROUP = 32
_GROUP_CHARS = 64_000


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text. start, stop: its bytes in the text's UTF-8, None for a special token (as TEI)."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class TextTokenizer:
    """A model's tokenizer with our own truncation: what a tokenizer.json bakes in (128 tokens here) is dropped."""

    def __init__(self, spec: ModelSpec, tokenizer: Tokenizer):
        """tokenizer: as loaded; it is copied."""
        self._spec = spec
        self._lock = threading.Lock()
        self._whole = self._copy(tokenizer)
        self._cutting: dict[Direction, Tokenizer] = {}

    @property
    def max_chars(self) -> int:
        """Characters of a text over which it is cut before it is tokenised, or refused."""
        return self._spec.max_tokens * _CHARS_PER_TOKEN

    def encode(self, texts: Sequence[str], truncate: Direction | None) -> list[TokenIds]:
        """Token ids with special tokens, one list a text.

        truncate: the side that gives way where a text is over the window; None leaves it whole, however long.
        """
        tokenizer = self._whole if truncate is None else self._cutter(truncate)
        ids: list[TokenIds] = []
        for group in grouped([self._shortened(text, truncate) for text in texts], len):
            ids.extend(encoding.ids for encoding in tokenizer.encode_batch_fast(group))
        return ids

    def encode_pairs(self, texts: Sequence[Sequence[str]], truncate: Direction | None) -> Batch:
        """Token ids, with special tokens, of texts (sequences of one) and pairs (of two), and where the second begins.

        truncate: the longer of the two gives way, on this side, until both fit; None leaves them whole.
        """
        tokenizer = self._whole if truncate is None else self._cutter(truncate)
        ids: list[TokenIds] = []
        second: list[int] = []
        for group in grouped([self._pair(pair, truncate) for pair in texts], _chars):
            for encoding in tokenizer.encode_batch_fast(group):
                ids.append(encoding.ids)
                # Padding is off, so that types never fall back to 0: the ones are the second text, up to the end.
                second.append(len(encoding.ids) - encoding.type_ids.count(1))
        return Batch(ids, second)

    def decode(self, ids: Sequence[TokenIds], skip_special_tokens: bool) -> list[str]:
        """The text of each list of token ids; ids outside of the vocabulary are left out."""
        texts: list[str] = self._whole.decode_batch(list(map(list, ids)), skip_special_tokens=skip_special_tokens)
        return texts

    def tokens(self, texts: Sequence[str], add_special_tokens: bool) -> Iterator[list[Token]]:
        """The tokens of each text, not truncated; one text after the other, since a token takes 200 bytes."""
        for group in grouped([self._lowered(text) for text in texts], len):
            encodings = self._whole.encode_batch(group, add_special_tokens=add_special_tokens)
            for text, encoding in zip(group, encodings, strict=True):
                yield _tokens(text, encoding)

    def _shortened(self, text: str, truncate: Direction | None, parts: int = 1) -> str:
        limit = self.max_chars // parts
        if truncate == "right":
            text = text[:limit]
        elif truncate == "left":
            text = text[-limit:]
        return self._lowered(text)

    def _pair(self, texts: Sequence[str], truncate: Direction | None) -> str | tuple[str, str]:
        if len(texts) == 1:
            return self._shortened(texts[0], truncate)
        first, second = (self._shortened(text, truncate, 2) for text in texts)
        return first, second

    def _lowered(self, text: str) -> str:
        return text.lower() if self._spec.lower_case else text

    def _cutter(self, direction: Direction) -> Tokenizer:
        with self._lock:
            if direction not in self._cutting:
                tokenizer = self._copy(self._whole)
                tokenizer.enable_truncation(self._spec.max_tokens, direction=direction)
                self._cutting[direction] = tokenizer
            return self._cutting[direction]

    @staticmethod
    def _copy(tokenizer: Tokenizer) -> Tokenizer:
        copy: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        return copy


_Item = TypeVar("_Item")


def grouped(items: Sequence[_Item], chars: Callable[[_Item], int]) -> Iterator[Sequence[_Item]]:
    """Consecutive items, at most _GROUP and, but for a single larger one, _GROUP_CHARS together."""
    start = size = 0
    for index, item in enumerate(items):
        if index > start and (index - start == _GROUP or size + chars(item) > _GROUP_CHARS):
            yield items[start:index]
            start, size = index, 0
        size += chars(item)
    if start < len(items):
        yield items[start:]


def _chars(pair: str | tuple[str, str]) -> int:
    return len(pair) if isinstance(pair, str) else sum(map(len, pair))


def load_tokenizer(spec: ModelSpec) -> TextTokenizer:
    """The tokenizer of the model's folder. Fails with ModelError where there is no readable tokenizer.json."""
    path = spec.folder / "tokenizer.json"
    if not path.exists():
        raise ModelError(f"{spec.folder} holds no tokenizer.json; save the model again with a fast tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises bare Exception
        raise ModelError(f"{path} is not a tokenizer that this version of tokenizers reads: {exc}") from exc
    return TextTokenizer(spec, tokenizer)


def _tokens(text: str, encoding: Encoding) -> list[Token]:
    # The library counts characters, TEI's wire counts bytes; for ASCII they are the same.
    byte_at = None if text.isascii() else _byte_offsets(text)
    tokens = []
    for id_, word, special, (start, stop) in zip(
        encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True
    ):
        if special:
            tokens.append(Token(id_, word, True, None, None))
        elif byte_at is None:
            tokens.append(Token(id_, text[start:stop], False, start, stop))
        else:
            tokens.append(Token(id_, text[start:stop], False, byte_at[start], byte_at[stop]))
    return tokens


def _byte_offsets(text: str) -> list[int]:
    """For each character (and the end) the number of UTF-8 bytes before it."""
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + len(character.encode()))
    return offsets
