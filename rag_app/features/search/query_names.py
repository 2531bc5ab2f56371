"""Names of code that a query speaks of, and the kind of thing that it calls them. Pure."""

import re

# What joins the parts of a name: a.b, A::b, A#b, $a->b, a?.b, A\b.
_JOINT = r"(?:\.|::|\#|->|\?\.|\\|\$)"

# One name, with what languages write around it: $this->foo, &Foo::bar, @cached, .close, ~Pool, close().
_ONE = re.compile(rf"[&*@]?(?:\.|::|\\|~)?[$@]?[^\W\d]\w*+(?:{_JOINT}[~$@]?[^\W\d]\w*+)*+[?!]?(?:\(\))?")
_GENERIC = re.compile(r"(?<=\w)(?:::)?<[^<>\n]*>")
# (*Pool).Close of Go.
_RECEIVER = re.compile(r"\(\*?([^\W\d]\w*)\)(?=\.)")
_ITSELF = re.compile(r"^(?:self|this|cls|static|parent|super)\.(?=.)")

# What may be a name within other text. Each character is looked at once: nothing gives way to another try.
_CANDIDATE = re.compile(
    rf"`([^`\n]{{1,200}})`|(?<![\w$@])(?:[$@]?[A-Za-z_]\w*+(?:{_JOINT}[$~]?[A-Za-z_]\w*+)*+)(?:\(\)|(?=\())?+", re.ASCII
)
_JOINED = re.compile(r"::|#|->|\?\.|\\|(?<=\w)\$")
_CAMEL = re.compile(r"[a-z][a-z0-9]*[A-Z]|[A-Z][a-z0-9]+[A-Z]|[A-Z]{2,}[a-z]{2}")

# Words of prose that are written like names.
_PROSE_WORDS = (
    "javascript typescript coffeescript github gitlab bitbucket graphql postgresql mysql sqlite nosql oauth "
    "youtube linkedin openapi fastapi numpy scipy pytorch tensorflow macos ios ipados nodejs devops websocket "
    "websockets vscode phpunit junit rabbitmq mongodb dynamodb openssl openssh wifi grpc ipv4 ipv6 e.g i.e a.m p.m "
    "e.g. etc and/or asp.net vb.net socket.io node.js vue.js next.js d3.js webassembly llamaindex langchain "
    "restful latex"
)
_DOMAINS_WORDS = "com org net io dev edu gov"

_KINDS: dict[str, str] = {
    word: kind
    for kind, words in {
        "class": "class classes 클래스",
        "struct": "struct structure 구조체",
        "interface": "interface protocol 인터페이스",
        "trait": "trait mixin 트레이트",
        "enum": "enum enumeration 열거형",
        "function": "function func fn fun def sub procedure routine 함수",
        "method": "method constructor destructor 메서드 메소드",
        "type": "type typedef alias 타입",
        "constant": "constant const 상수",
        "variable": "variable var 변수",
        "property": "property attribute field member getter setter 속성 필드",
        "module": "module package namespace 모듈 패키지",
        "macro": "macro 매크로",
        "decorator": "decorator annotation 데코레이터",
        "exception": "exception 예외",
    }.items()
    for word in words.split()
}
_DECLARING = frozenset({"def", "fn", "fun"})
_KIND = "|".join(sorted(_KINDS, key=len, reverse=True))

# Ordinary words beside a kind word, which are not called so: "class hierarchy", "helper function".
_ORDINARY_WORDS = (
    "a an the this that these those which what where when who how why is are was does do of in on at to for from "
    "with and or not no by as it its if all any each every some other another same new old first last main own "
    "such into call calls called calling name names named resolution definition definitions declaration hierarchy "
    "check checks checking checker inference system method methods function functions class classes variable "
    "variables attribute attributes argument arguments parameter parameters body signature signatures decorator "
    "decorators pointer pointers wrapper wrappers based level scope object objects instance instances type types "
    "value values hint hints annotation annotations conversion conversions cast casting coercion error errors "
    "safety alias aliases base abstract generic helper utility callback static public private protected virtual "
    "override anonymous inline async asynchronous entry point inner nested outer lambda arrow pure higher hash "
    "factory default custom magic special instance data return returns global local environment member inheritance "
    "composition overloading overriding dispatch lookup loader diagram component components property properties "
    "library path paths file files list import imports exports template templates literal literals guard guards "
    "parameterized test tests key keys map unknown given specific content mime media field fields primitive native "
    "builtin built-in interface implementation implementations handler handlers statement block expression wide "
    "user config configuration settings state event system"
)

_NAME = r"`?(?P<name>[&*@$~]?[^\W\d][\w.:#$>~-]{0,199}?[?!]?(?:\(\))?)`?"
_LEAD = r"(?:(?:where(?:'s| is| are)|find|show(?: me)?|go to|open|look up|what is|what's)\s+)?"
_OWNER = (
    r"(?:\s+(?:of|in|on|from|inside|within)\s+(?:the\s+|a\s+)?(?:(?:class|struct|trait|interface|module|type)\s+)?"
    r"`?(?P<owner>[^\W\d][\w.:#]{0,199}?)`?(?:\s+(?:class|struct|trait|interface|module|type))?)?"
)
# "class Foo", "the `close` method of Pool", "where is the function foo defined", "Pool 클래스".
_SHORT = re.compile(
    rf"{_LEAD}(?:the\s+|a\s+)?(?:(?:definition|declaration|implementation|source)\s+(?:of|for)\s+(?:the\s+)?)?"
    rf"(?:(?P<kind>{_KIND})\s+{_NAME}|{_NAME.replace('?P<name>', '?P<name2>')}\s+(?P<kind2>{_KIND})"
    rf"|{_NAME.replace('?P<name>', '?P<name3>')})"
    rf"{_OWNER}(?:\s+(?:is\s+)?(?:defined|declared|implemented))?\s*\??",
    re.IGNORECASE,
)
# type Pool struct
_GO_TYPE = re.compile(r"^type\s+(\w{1,200})\s+(struct|interface)$")
# A kind word before or behind a name, anywhere. Korean glues endings to it.
_HAS_KIND = re.compile(rf"(?<![^\W_])(?:{_KIND})(?![A-Za-z0-9_])")
_BEHIND = re.compile(
    rf"(?<!\w)(?P<kind>{_KIND})\s+(?:(?P<said>named|called)\s+)?`?(?P<name>[$@]?[A-Za-z_][\w.:#]{{0,199}})"
)
_BEFORE = re.compile(
    rf"(?<![\w.])(?P<name>[A-Za-z_]\w{{0,199}}+)(?:\(\))?`?(?P<said>)\s(?P<kind>{_KIND})(?![A-Za-z0-9_])", re.ASCII
)
# Pool 클래스의 close 메서드
_KOREAN_METHOD = re.compile(
    r"([A-Za-z_]\w*) (?:클래스|구조체|인터페이스)의 ([A-Za-z_]\w*)(?:\(\))? (?:메서드|메소드|함수)", re.ASCII
)

# No question is about more; a traceback or a page of code names hundreds.
MAX_NAMES = 32

_QUESTIONS_WORDS = "what where when who how why which"

# Words of languages that stand before a bracket.
_KEYWORDS_WORDS = (
    "if for while switch return catch function func fn def and or not in is new await typeof sizeof elif with "
    "match except lambda print super"
)

_PROSE = frozenset(_PROSE_WORDS.split())
_DOMAINS = frozenset(_DOMAINS_WORDS.split())
_ORDINARY = frozenset(_ORDINARY_WORDS.split())
_QUESTIONS = frozenset(_QUESTIONS_WORDS.split())
_KEYWORDS = frozenset(_KEYWORDS_WORDS.split())


def dotted(name: str) -> str:
    """A name as the index keeps it, lower-case and joined by dots; "" where it is none.

    `$this->close()`, `self.close` and `.close` are "close", `std::vector<int>` "std.vector", `(*Pool).Close`
    "pool.close".
    """
    text = _RECEIVER.sub(r"\1", _plain(name.strip().strip("`")))
    if len(text) > 500 or not _ONE.fullmatch(text):
        return ""
    text = text.removesuffix("()").rstrip("!")
    text = re.sub(r"[&*@$~]", "", _JOINED.sub(".", text)).strip(".")
    return _ITSELF.sub("", text.lower())


def one_name(text: str) -> tuple[str, str]:
    """(the name, its kind) where a query is one name, with or without what it is; else ("", "").

    "close", "Pool#close", "class Pool", "the close method of Pool" (pool.close), "where is parse_args defined". A name
    that is an ordinary word has to stand alone or beside its kind.
    """
    plain = _plain(text)
    if not any(char.isspace() for char in plain):
        name = dotted(plain)
        return ("", "") if name in _QUESTIONS else (name, "")
    if len(text) > 300:
        return "", ""
    korean = None if text.isascii() else _KOREAN_METHOD.fullmatch(text)
    if korean is not None:
        return f"{dotted(korean[1])}.{dotted(korean[2])}", "method"
    match = _SHORT.fullmatch(_GO_TYPE.sub(r"\2 \1", text))
    if match is None:
        return "", ""
    written = match["name"] or match["name2"] or match["name3"]
    kind = _KINDS.get((match["kind"] or match["kind2"] or "").lower(), "")
    name, owner = dotted(written), match["owner"]
    # A word of prose is a name behind a keyword, and with a capital behind a kind: "fn main", "type Handler".
    is_capital = written[:1].isupper() and not text[:1].isupper()
    is_behind = match["name"] is not None and (match["kind"] in _DECLARING or is_capital)
    is_sure = _is_name(written) or f"`{written}`" in text or (is_behind and bool(kind))
    if not name or (not is_sure and (not kind or name in _ORDINARY)):
        return "", ""
    if owner is not None:
        # "function foo in pool.py" has a path there, and "method of hashing" nothing.
        if dotted(owner) in _ORDINARY or not dotted(owner) or re.search(r"\.[a-z]{1,4}$", owner):
            return "", ""
        if kind in ("method", "property", "function", "") and (kind == "method" or owner[:1].isupper()):
            name = f"{dotted(owner)}.{name}"
        else:
            return "", ""
    return name, kind


def names_in(text: str) -> tuple[str, ...]:
    """The names that stand in a text, those that are surely names: no word of prose is written so."""
    found: dict[str, None] = {}
    for match in _CANDIDATE.finditer(text):
        written = match[1] or match[0]
        if match[1] is None:
            # Most words, at a tenth of the cost.
            if written.isalpha() and written[1:].islower() and not text.startswith("(", match.end()):
                continue
            is_called = written.endswith("()") or (
                text.startswith("(", match.end()) and not text.startswith(("(s)", "(es)"), match.end())
            )
            if not is_called and not _is_name(written):
                continue
            if is_called and written.lower() in _KEYWORDS:
                continue
        elif not dotted(written):
            found.update(dict.fromkeys(names_in(written.replace("`", ""))))
        name = dotted(written)
        # "\x00\x01" is no name, App\Http is one.
        if name and ("\\" not in written or written[0].isupper()):
            found[name] = None
        if len(found) >= MAX_NAMES:
            break
    return tuple(found)[:MAX_NAMES]


def kind_in(text: str) -> tuple[str, str]:
    """(a name beside its kind, that kind), the first that a text has: ("pool", "class") of "when is class Pool closed".

    ("", "") where there is none.
    """
    if not _HAS_KIND.search(text):
        return "", ""
    for pattern in (_BEHIND, _BEFORE):
        for match in pattern.finditer(text):
            written = match["name"].rstrip(".:#")
            name = dotted(written)
            is_sure = _is_name(written) or match["said"] or (written[:1].isupper() and written[1:2].islower())
            if name and is_sure and name not in _ORDINARY and name not in _KINDS and name not in _PROSE:
                return name, _KINDS[match["kind"]]
    return "", ""


def _plain(name: str) -> str:
    """A name without its types: Map<string, List<int>> is Map."""
    if "<" not in name:
        return name
    for _ in range(4):  # as deep as anybody types
        name = _GENERIC.sub("", name)
    return name


def _is_name(written: str) -> bool:
    """Whether no word of prose is written so."""
    lower = written.lower().strip("`")
    if lower in _PROSE:
        return False
    if written.endswith("()") or "_" in lower.strip("_") or (lower.startswith("_") and lower.strip("_")):
        return True
    if _JOINED.search(written) or written[:1] == "$":
        return True
    if "." in lower.strip("."):
        parts = lower.strip(".").split(".")
        return parts[-1] not in _DOMAINS and max(map(len, parts)) > 1
    return bool(_CAMEL.match(written))
