"""Whether a query is a piece of code. Pure."""

import re

# What declares a name, in the languages that are common.
_DECLARES = re.compile(
    r"(?<![\w.])(?:(?:export|default|pub(?:\(\w+\))?|public|private|protected|internal|static|final|abstract|async|"
    r"override|open|sealed|data|inline|unsafe|extern|const|virtual|partial|suspend)\s+){0,6}"
    r"(?P<kind>def|func|fn|fun|function|class|struct|interface|trait|enum|impl|type|module|namespace|record|object)\s+"
    r"(?:\([^()\n]{0,100}\)\s*)?(?P<name>[A-Za-z_]\w{0,199})\s*(?=[(:{<=]|extends\b|implements\b|struct\b|interface\b)"
)
_DECLARED = {"def": "function", "func": "function", "fn": "function", "fun": "function", "impl": "class"}


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.MULTILINE)


# Without one of these a text is words, but for the statements that need none.
_SIGN = re.compile(r"[(){}\[\];=<>#@$&|+:\"]|\b(?:import|SELECT|INSERT|CREATE|UPDATE|end)\b")

# What is code whatever else is there.
_CERTAIN = _any_of(
    r"^[ \t]*from\s+[\w.]+\s+import\s",
    r"^[ \t]*import\s+(?:static\s+)?(?:[\w.*]+(?:\s+as\s+\w+|;)|[{*].*\sfrom\s|\w+\s+from\s+['\"]|['\"(])",
    r"^[ \t]*(?:#include\s*[<\"]|using\s+[\w.]+;|SELECT\s.{1,200}?\sFROM\s|INSERT\s+INTO\s|CREATE\s+TABLE\s)",
    # A head of a block in Python, with something in it that sentences lack.
    r"^[ \t]*(?:async\s+)?(?:for|if|while|with|elif|except|class|def)\b[^?\n]{0,200}?[(.=_<>\[][^?\n]{0,200}:\s*"
    r"(?:$|return\b|raise\b|break$|continue$|pass$)",
    r"<\?(?:php|=)|\bdo\s\|\w",
    # A call and nothing else.
    r"^[\w.$:>@-]{1,200}\([^()\n]*(?:\([^()\n]*\)[^()\n]*){0,9}\);?$",
)

# What prose hardly has, and what it seldom has: two points and one.
_STRONG = _any_of(
    r"[;{}][ \t]*$",
    r"[^=!<>]==[^=]|!=|=>|\w->\w|\)\s?->|:=|&&|\|\||\+=|-=|\+\+[;)\w]|::<|</\w+>|<\w+\s[\w-]+=|/>",
    r"^[ \t]*(?:[#@]\w+\s*[(<\"]|import\s+[\w.]+;?[ \t]*$|package\s+[\w.]+;|require\s*[('\"]|UPDATE\s.{1,100}\sSET\s)",
    r"^[ \t]*(?:let|var|const|val)\s+(?:mut\s+)?[\w{\[][^=\n]{0,80}=",
    r"^[ \t]*[\w.$\[\]]{1,100}(?:\s?:\s?[\w.\[\]]{1,40})?\s?=\s?[^=\s]",
    r"^[ \t]*(?:return\s+[\w\"'(\[{]+\s*[.(;\[]|raise\s+\w+\(|throw\s+new\b|(?:else|try|finally)\s*:[ \t]*$)",
    r"^[ \t]*(?:if|while|for|switch|elif)\s*\(.{1,300}\)",
)
_WEAK = _any_of(
    r"[\w\])]\s?=\s?[\w\"'\[({$-]",
    r"\w\([^()\s]*\)",
    r"\w\([\w\"'$@&*]",
    r"\[\w*\]",
    r"\"[\w ]*\",",
    r"\$\w|\w;|[{}]|\s->\s",
)

_WORD = re.compile(r"[a-z]{2,}")
_QUESTION = re.compile(r"(?:how|what|where|when|which|who|why|explain|find|show|list|does|do|is|are|can)\s+\w", re.I)

# Words that make sentences.
_SENTENCE_WORDS = (
    "the a an is are was of to how what where when which who why does did and that this it from with on we i you can "
    "should my there be by called used"
)
_SENTENCE = frozenset(_SENTENCE_WORDS.split())

# Words that a line of code may have for each point, beyond the first: `fix the length of the payload;` is none.
WORDS_PER_POINT = 4


def is_code(text: str) -> bool:
    """Whether a text is written in a programming language rather than about one.

    By signs against words of sentences, since "what does foo(bar) do; and why" is a question.
    """
    if not _SIGN.search(text):
        return False
    if _CERTAIN.search(text):
        return True
    if _QUESTION.match(text) or text.endswith("?"):
        return False
    points = 2 * len(_STRONG.findall(text)) + len(_WEAK.findall(text)) + 2 * bool(_DECLARES.search(text))
    if points < 2:
        return False
    words = _WORD.findall(text.lower())
    prose = sum(word in _SENTENCE for word in words)
    return points >= 2 + 2 * prose + len(words) // WORDS_PER_POINT


def declared(text: str) -> tuple[str, str]:
    """(the name, lower-case, and its kind) of the first definition in a piece of code; ("", "") where it has none."""
    match = _DECLARES.search(text)
    return (match["name"].lower(), _DECLARED.get(match["kind"], match["kind"])) if match else ("", "")
