"""Whether a query is a piece of code. Pure."""

import re

# What declares a name, in the languages that are common: the name is the last group.
_DECLARES = re.compile(
    r"(?<![\w.])(?:(?:export|default|pub(?:\(\w+\))?|public|private|protected|internal|static|final|abstract|async|"
    r"override|open|sealed|data|inline|unsafe|extern|const|virtual|partial|suspend)\s+){0,6}"
    r"(?P<kind>def|func|fn|fun|function|class|struct|interface|trait|enum|impl|type|module|namespace|record|object)\s+"
    r"(?:\([^()\n]{0,100}\)\s*)?(?P<name>[A-Za-z_]\w{0,199})\s*(?=[(:{<=]|extends\b|implements\b|struct\b|interface\b)"
)
_DECLARED = {"def": "function", "func": "function", "fn": "function", "fun": "function", "impl": "class"}

# What is code whatever else is there.
_CERTAIN = re.compile(
    r"^\s*(?:from\s+[\w.]+\s+import\s|import\s+(?:static\s+)?(?:[\w.*]+(?:\s+as\s+\w+|;)|[{*].*\sfrom\s|[\w]+\s+from\s+['\"]|"
    r"['\"(])|#include\s*[<\"]|using\s+[\w.]+;|SELECT\s.{1,200}?\sFROM\s|INSERT\s+INTO\s|CREATE\s+TABLE\s)"
    r"|^\s*(?:async\s+)?(?:for|if|while|with|elif|except|class|def)\b[^?\n]*[(.=_<>\[][^?\n]*:\s*(?:$|return\b|raise\b|break$|"
    r"continue$|pass$)"
    r"|^[\w.$:>@-]+\([^()\n]*(?:\([^()\n]*\)[^()\n]*){0,9}\);?$",
    re.MULTILINE,
)

# Signs of code, each worth two where prose never has it, one where it seldom does.
_STRONG = re.compile(
    r"[;{}]\s*$|^\s*[#@]\w+\s*[(<\"]|[^=!<>]==[^=]|!=|=>|->|:=|&&|\|\||\+=|-=|\+\+[;)\w]|\bdo\s\|\w|::<|</\w+>|<\w+\s[\w-]+=|/>|"
    r"^\s*(?:from\s+[\w.]+\s+import|import\s+[\w.{*\"']+(?:\s+as\s+\w+|;|\s+from)?|#include|using\s+[\w.]+;|package\s+"
    r"[\w.]+;?|require\b|SELECT\s.{1,200}\sFROM|INSERT\s+INTO|UPDATE\s.{1,100}\sSET|CREATE\s+TABLE|let\s+\w|var\s+\w+|"
    r"const\s+\w+|val\s+\w+\s*[:=]|return\s+[\w\"'(\[{]+\s*[.(;\[]|raise\s+\w+\(|throw\s+new\b|yield\s+\w+|"
    r"(?:if|while|for|switch|elif)\s*\(.*\)|(?:if|while|for|elif|else|try|with|except)\b[^?]*:\s*$)",
    re.MULTILINE,
)
_WEAK = re.compile(
    r"[\w\])]\s?=\s?[\w\"'\[({$-]|\w\([^()\s]*\)|\w\([\w\"'$@&*]|\[\w*\]|\w\.\w+\(|\"[\w ]*\",|\$\w|\w;|[{}]"
)
_WORD = re.compile(r"[^\W\d_]{2,}")

# Words that make sentences.
_SENTENCE_WORDS = (
    "the a an is are was of to how what where when which who why does did and that this it from with on we i "
    "you can should my there be by called used"
)

_SENTENCE = frozenset(_SENTENCE_WORDS.split())


def is_code(text: str) -> bool:
    """Whether a text is written in a programming language rather than about one."""
    if _CERTAIN.search(text):
        return True
    strong, weak = len(_STRONG.findall(text)), len(_WEAK.findall(text))
    if _DECLARES.search(text):
        strong += 1
    words = _WORD.findall(text.lower())
    prose = sum(word in _SENTENCE for word in words)
    if text.rstrip().endswith("?"):
        prose += 2
    return 2 * strong + weak >= 2 + 2 * prose and 2 * strong + weak > 0


def declared(text: str) -> tuple[str, str]:
    """(the name, lower-case, and its kind) of the first definition in a piece of code; ("", "") where it has none."""
    match = _DECLARES.search(text)
    return (match["name"].lower(), _DECLARED.get(match["kind"], match["kind"])) if match else ("", "")
