"""Nothing that is embedded is cut: real code, counted by the default model's own tokenizer."""

from pathlib import Path

import fastapi
import pytest
from tokenizers import Tokenizer

from rag_app.clients.embedding_in_process import model_folder
from rag_app.features.indexing.chunking.chunker import chunk, parse
from rag_app.features.indexing.chunking.counting import TokenCounts

WINDOW = 256
HERE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    folder = Path(model_folder("sentence-transformers/all-MiniLM-L6-v2"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def count(tokenizer: Tokenizer, texts: list[str], special: bool = False) -> list[int]:
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=special)]


NASTY = {
    "long_line.py": "x = 1\ndata = '" + "a7F+/" * 3_000 + "'\ny = 2\n",
    "numbers.py": "T = [" + ", ".join(str(n * n) for n in range(2_000)) + "]\n",
    "cjk.md": "# 見出し\n\n" + "日本語の文章です。" * 400 + "\n",
    "marks.txt": "!@#$%^&*()" * 900 + "\n",
    "wide.rs": "fn f(" + ", ".join(f"a{n}: &'static str" for n in range(300)) + ") {\n" + "    x();\n" * 900 + "}\n",
}


@pytest.mark.parametrize("name", NASTY)
def test_no_nasty_text_is_over_the_window(tokenizer: Tokenizer, name: str) -> None:
    assert_fits(tokenizer, name, NASTY[name])


def test_no_chunk_of_real_code_is_over_the_window(tokenizer: Tokenizer) -> None:
    files = [*(HERE / "rag_app").rglob("*.py"), *Path(fastapi.__file__).parent.glob("*.py")]
    largest = max(assert_fits(tokenizer, path.name, path.read_text()) for path in files)
    # The window is used, too.
    assert largest > WINDOW - 20


def assert_fits(tokenizer: Tokenizer, name: str, text: str) -> int:
    counts = TokenCounts()
    file = parse(name, text)
    texts = counts.unknown(file.countable())
    counts.learn(texts, count(tokenizer, texts))
    passages = chunk(file, counts, WINDOW)
    sizes = count(tokenizer, [passage.embedded for passage in passages], special=True)
    assert max(sizes, default=0) <= WINDOW
    return max(sizes, default=0)
