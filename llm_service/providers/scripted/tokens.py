"""A tokenizer without a vocabulary: an id holds its token's bytes, so that ids can be read back by anyone. Pure."""

import re

# A space belongs to the word after it, and a token has at most five letters: about four characters of code a token, as
# with OpenAI's. No token has over six bytes of UTF-8, so that an id is under 2**53 and survives JavaScript.
_TOKEN = re.compile(r" ?[A-Za-z0-9_]{1,5}|.", re.DOTALL)

# Stands before the bytes in an id: without it, a leading zero byte would be lost.
_MARK = b"\x01"


def tokens_of(text: str) -> list[str]:
    """Cut a text; joined, the tokens are the text."""
    return _TOKEN.findall(text)


def token_count(text: str) -> int:
    """len(tokens_of(text))."""
    return len(_TOKEN.findall(text))


def pieces_of(text: str, chars: int) -> list[str]:
    """Tokens of `chars` characters each; 0: as `tokens_of`."""
    return [text[i : i + chars] for i in range(0, len(text), chars)] if chars else tokens_of(text)


def token_id(token: str) -> int:
    """The token's bytes as one number."""
    return int.from_bytes(_MARK + token.encode(), "big")


def text_of(ids: list[int]) -> str:
    """The text that ids stand for. Fails with ValueError on a number that is no id."""
    parts = bytearray()
    for number in ids:
        content = number.to_bytes(8, "big").lstrip(b"\x00") if 0 < number < 1 << 49 else b""
        if not content.startswith(_MARK) or len(content) < 2:
            raise ValueError(f"{number} is no token")
        parts += content[1:]
    return parts.decode("utf-8", "replace")
