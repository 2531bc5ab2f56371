"""Text that no grammar serves, split by langchain-text-splitters at line ends, so that its lines stay exact."""

from collections.abc import Callable, Sequence

from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

# Ours -> langchain's, where the names differ.
_LANGUAGES = {"protobuf": "proto"}
_PLAIN = ["\n\n", "\n"]


def spans(lines: Sequence[str], language: str, count: Callable[[str], int], budget: int) -> list[tuple[int, int]]:
    """(start, end) lines of consecutive pieces that cover the file, each of at most `budget` tokens or a single line.

    lines: of the file, at least one. count: tokens of one line.
    """
    splitter = RecursiveCharacterTextSplitter(
        separators=_separators(language),
        keep_separator=True,
        strip_whitespace=False,
        chunk_overlap=0,
        chunk_size=budget,
        # A blank line counts too: pieces of no length are repeated at the head of the next (langchain's overlap).
        length_function=lambda text: max(1, sum(count(line) for line in text.split("\n"))) if text else 0,
    )
    pieces = splitter.split_text("\n".join(lines)) or [""]
    # Every separator begins with a newline, so a later piece begins with the one that ends the line before it.
    heights = [pieces[0].count("\n") + 1, *(piece.count("\n") for piece in pieces[1:])]
    assert sum(heights) == len(lines), "the splitter lost a line"
    found, done = [], 0
    for height in heights:
        found.append((done + 1, done + height))
        done += height
    return found


def _separators(language: str) -> list[str]:
    try:
        known = RecursiveCharacterTextSplitter.get_separators_for_language(Language(_LANGUAGES.get(language, language)))
    except ValueError:
        return _PLAIN
    # Those inside of a line would make the line numbers a lie.
    return [separator for separator in known if separator.startswith("\n") and separator not in _PLAIN] + _PLAIN
