"""Code as lines of (kind, text) tokens, for the page to build elements from. Pure: no HTML is made here or there."""

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.token import Comment, Keyword, Name, Number, String, Token, _TokenType
from pygments.util import ClassNotFound

Line = list[tuple[str, str]]

# Lexers are regular expressions over input that strangers wrote; past this a snippet is shown plain.
MAX_HIGHLIGHTED_CHARS = 50_000

# The most specific first. A handful of kinds reads calmer than Pygments' eighty.
_KINDS: tuple[tuple[_TokenType, str], ...] = (
    (String.Doc, "comment"),
    (Comment, "comment"),
    (String, "string"),
    (Number, "number"),
    (Keyword.Constant, "constant"),
    (Keyword, "keyword"),
    (Token.Operator.Word, "keyword"),
    (Name.Function, "function"),
    (Name.Class, "type"),
    (Name.Decorator, "decorator"),
    (Name.Builtin, "builtin"),
    (Name.Tag, "keyword"),
    (Name.Attribute, "function"),
    (Token.Generic.Heading, "keyword"),
    (Token.Generic.Subheading, "keyword"),
)


def highlight(code: str, language: str, path: str) -> list[Line]:
    """One list of (kind, text) a line of `code`; kind is "" for plain text. Joined, the texts are the line unchanged.

    language: as the index names it; where Pygments does not know it, the path decides, else the code stays plain.
    """
    # A lone carriage return ends no line of a file, but Pygments would make it one.
    code = code.replace("\r\n", "\n").replace("\r", " ")
    lines: list[Line] = [[]]
    for token, text in _lexer(code, language, path).get_tokens(code):
        kind = _kind(token)
        first, *rest = text.split("\n")
        _append(lines[-1], kind, first)
        for part in rest:
            lines.append([])
            _append(lines[-1], kind, part)
    # Pygments ends its input with a newline of its own.
    wanted = code.count("\n") + 1
    return lines[:wanted] + [[] for _ in range(wanted - len(lines))]


def _append(line: Line, kind: str, text: str) -> None:
    if text and line and line[-1][0] == kind:
        line[-1] = (kind, line[-1][1] + text)
    elif text:
        line.append((kind, text))


def _kind(token: _TokenType) -> str:
    # `token in family` says the same, but a token type is a tuple of strings to a type checker.
    return next((kind for family, kind in _KINDS if token[: len(family)] == tuple(family)), "")


def _lexer(code: str, language: str, path: str) -> Lexer:
    if len(code) <= MAX_HIGHLIGHTED_CHARS:
        for find, name in ((get_lexer_by_name, language), (get_lexer_for_filename, path)):
            try:
                return find(name, stripnl=False)
            except ClassNotFound:
                continue
    return TextLexer(stripnl=False)
