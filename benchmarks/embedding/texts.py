"""What is sent: chunks of the standard library's code and queries about it, all different from each other."""

import itertools
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer

# The chunks of code that the product makes have 179 tokens on average. Lengths are spread evenly around that:
# up to 118 to 256, the window, each but for a line. What padding costs a server shows only where lengths differ.
SHORTEST, WINDOW = 118, 256

# Words that are one token each, so that texts which differ only by their mark have the same length.
_ONE_TOKEN_EACH = (
    "red blue green black white gold silver stone river lake hill road bridge tower house wall door roof table chair "
    "horse dog cat bird fish tree leaf root seed grass wind rain snow fire ice sun moon star cloud sky north south "
    "east west king queen knight ship boat train wheel ring bell drum song book page word line point mark"
)
_WORDS = _ONE_TOKEN_EACH.split()

# The tokens of a chunk that are not its code: '#', the mark's four words, and the two special ones.
_OWN = 7

# Of 9 to 11 words, 10 on average.
_QUESTIONS = (
    "where is the {} of {} checked before {}",
    "how does the {} parse a {} from {}",
    "which function removes the {} when {} and {} ended",
    "what happens if {} raises in {} and {}",
    "read {} and then release {} without {}",
    "convert every {} to {} by {} keys",
)


def mark(number: int) -> str:
    """Four words that no other number below 61 ** 4 gives. Its length in tokens is always the same."""
    base = len(_WORDS)
    return " ".join(_WORDS[number // base**power % base] for power in range(4))


class Texts:
    """An endless supply in which no text comes twice, so that no server's cache can answer.

    The n-th round of a load has the same code and the same lengths for every server, under marks of its own.
    """

    def __init__(self, tokenizer_file: Path, chunks: int = 2048):
        """tokenizer_file: the model's tokenizer.json. chunks: how many different pieces of code to cut."""
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        # The shipped file cuts at 128 tokens and pads to 128; the model takes 256.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(WINDOW)
        self._chunks = list(itertools.islice(_cut(_sources(), self._tokenizer), chunks))
        self._number = 0

    def chunks(self, count: int, start: int) -> list[str]:
        """`count` pieces of code, from the `start`-th of the supply on, each under a comment of its own."""
        bodies = (self._chunks[(start + index) % len(self._chunks)] for index in range(count))
        return [f"# {self._mark()}\n{body}" for body in bodies]

    def queries(self, count: int, start: int) -> list[str]:
        """`count` questions of 9 to 11 words."""
        return [_question(start + index, self._mark()) for index in range(count)]

    def tokens(self, texts: Sequence[str]) -> int:
        """Tokens that the model sees of all of them: special ones counted, what is over the window not."""
        return sum(map(len, self.ids(texts)))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, special ones included, at most WINDOW of them."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def _mark(self) -> str:
        self._number += 1
        return mark(self._number)


def _question(number: int, its_mark: str) -> str:
    first, second, *rest = its_mark.split()
    return _QUESTIONS[number % len(_QUESTIONS)].format(first, second, " ".join(rest))


def _sources() -> Iterator[str]:
    """The modules at the top of the standard library, in the order of their names; the same on every run."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        yield path.read_text("utf-8", errors="ignore")


def _cut(sources: Iterator[str], tokenizer: Tokenizer) -> Iterator[str]:
    """Pieces of whole lines, up to a target of tokens from SHORTEST to WINDOW; mark and special tokens are counted."""
    number = 0
    for source in sources:
        piece: list[str] = []
        length = _OWN
        for line in source.splitlines():
            # 58 is prime to the 139 lengths, so that each comes once before any comes again.
            target = SHORTEST + number * 58 % (WINDOW - SHORTEST + 1)
            size = len(tokenizer.encode(line, add_special_tokens=False).ids)
            if piece and length + size > target:
                yield "\n".join(piece)
                number += 1
                piece, length = [], _OWN
            piece.append(line)
            length += size
