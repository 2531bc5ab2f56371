"""Error messages, log lines and tracebacks: whether a query is one, and what it says itself. Pure."""

import re

# Names that errors have, with what languages write before them: requests.exceptions.ConnectionError, Errno::ENOENT.
_ERROR = (
    r"(?<![\w.$:\\])(?:Errno::E[A-Z]+|(?:[A-Za-z_][\w.$:\\]{0,200}?)?(?:Error|Exception|Warning|Fault|Failure|Panic|Interrupt|Exit"
    r"|Iteration|Timeout|NotFound|DoesNotExist)\d?|E[A-Z]{4,}(?=:))"
)
_RAISED = re.compile(rf"{_ERROR}(?:\s?\[\w+\]|\s?\(0x[0-9A-Fa-f]+\))?: ?")

# Prefixes after which nothing but a message comes.
_PREFIX = re.compile(
    r"""
    (?P<log>[VDIWEF]/[\w.$-]{1,80}(?:\(\s*\d+\))?:                                            # Android
    | \[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|\s?[+-]\d\d:?\d\d)?\]?:?   # ISO time
    | [A-Z][a-z]{2}\s[ \d]\d\s\d\d:\d\d:\d\d\s[\w.-]+\s(?=[\w./-]+(?:\[\d+\])?:)              # syslog
    | \[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?(?=\s)
    | \[\s*\d+\.\d+\](?=\s)                                                                   # the kernel's
    | [IWEF]\d{4}\s\d\d:\d\d:\d\d\.\d+\s+\d+\s[\w.]+:\d+\]                                    # klog
    | \[\d\d/[A-Z][a-z]{2}/\d{4}[:\s][^\]\n]{5,30}\] | \[[A-Z][a-z]{2}\s[A-Z][a-z]{2}\s[^\]\n]{5,40}\]
    | \[(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|SEVERE|PANIC)\]:?
    | \[(?:trace|debug|info|notice|warn|warning|error|fatal|critical)\]:?
    | (?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|SEVERE|PANIC)(?::[\w.]{1,80})?:)
    | (?:[Pp]HP\s)?(?:[Ff]atal|[Cc]ompile|[Pp]arse|[Ii]nternal\s[Cc]ompiler|[Cc]atchable\sfatal)\s[Ee]rror:
    | PHP\s(?:Warning|Notice|Deprecated):
    | (?:error|fatal|panic|warning|npm\sERR!|E)\s?(?:\[[A-Z]?\d+\]|[A-Z]{1,4}\d+)?:(?=\s)
    | npm\s(?:ERR!|error|WARN)(?=\s)
    | error\s[A-Z]{1,4}\d+: | Error:
    | [A-Z]\w{0,80}(?:(?:::|\.)[A-Z]\w{0,80}){1,9}:(?=\s)                                     # Some::Kind::Refused:
    | Caused\sby: | Uncaught(?:\s\(in\spromise\))? | Unhandled\s[Ee]xception[.:] | Unhandled\s[Rr]ejection:?
    | Unhandled\s[Pp]romise\s[Rr]ejection:? | Exception\sin\sthread\s"[^"\n]{0,80}" | \(node:\d+\)
    | thread\s'[^'\n]{0,80}'\s(?:\(\d+\)\s)?panicked\sat\s(?:[\w./\\-]+:\d+:\d+:)?
    | \[(?:Errno|WinError)\s-?\d+\] | runtime\serror:(?=\s)
    | [\w./\\@-]{1,200}\.\w{1,5}(?::\d+(?::\d+)?|\(\d+(?:,\d+)?\))\s?:(?:in\s[`'][^'\n]{0,100}':)?(?=\s)  # a compiler's
    """,
    re.VERBOSE,
)
# Names of errors that are not called so, as Python writes them: of a module of errors (exceptions.MissingSchema), or
# before a message that begins like a sentence (httpx.StreamConsumed). What asks about the name is no message.
_NAMED = re.compile(
    r"(?:(?:[a-z_]\w{0,60}\.){0,9}(?:exceptions?|errors?|exc)\.(?:[a-z_]\w{0,60}\.){0,3}[A-Z]\w{0,80}:(?=\s+\S)"
    r"|(?:[a-z_]\w{0,60}\.){1,9}[A-Z][a-z0-9]+[A-Z]\w{0,80}:(?=\s+[A-Z0-9'\"\[(<`]))"
    r"(?!\s+(?i:why|how|what|where|when|which|who|is|are|does|do|should|explain|find|show)\b|[^\n]*\?$)"
)
# What stands between a time or a level and the message: a level, [thread], 1234 ---, a logger's dotted name.
_BETWEEN = re.compile(
    r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|SEVERE|PANIC)(?=[\s:\]|-])|\[[^\]\n]{1,60}\]"
    r"|\d{1,7}(?=\s(?:---|\[))|---|[-|:](?=\s)|[\w$-]+(?:\[\d+\]):|[A-Za-z_][\w$]*(?:\.[\w$]+)+\s?(?::|-|\s)(?=\s|\S)"
    r"|[a-z_]\w{0,30}(?=:\s|\s-\s)|\w+:(?=\s)"
)
_LEVEL = re.compile(r"(?:DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\s+(?:-\s+)?(?=[\w$]+\.[\w.$]+)")

# Fields of structured log lines.
_FIELD = re.compile(r'(?:\b(?:msg|message)=|"(?:msg|message)"\s?:\s?)"((?:[^"\\\n]|\\.){1,2000}+)"')
_STRUCTURED = re.compile(r'\blevel=\w+|"(?:level(?:name)?|severity|error|code|status|statusCode)"\s?:')

# A line of a stack.
_FRAME = re.compile(
    r'Traceback \(most recent call last\)|File "[^"\n]{1,300}", line \d+(?:, in [\w.<>]{1,200})?'
    r"|\bat [^\s()]{1,200} ?\([^()\n]{1,300}:\d+\)"
    r"|^[ \t]*at [\w.$<>]{1,200}\([^()\n]{0,200}\)|\bat [^\s()]{1,300}:\d+:\d+|^goroutine \d+ \["
    r"|^[ \t]*from \S{1,200}:\d+:in |stack backtrace:|Stack trace:|^#\d+ +(?:0x|/|\S+\(\d+\))"
    r"|(?<!\S)\S{1,300}:\d+:in [`']"
    r"|^[ \t]*at [^\n]{1,200} in \S+:line \d+",
    re.MULTILINE,
)

# The function of a line of a stack, where it is not written like a name anyway.
_CALLER = re.compile(
    r"\bline \d+, in ([A-Za-z_]\w{0,199})"
    r"|\bat (?:async |new )?([A-Za-z_$][\w$.]{0,199}) \(\S|:\d+:in [`'](?:[\w :]{0,80}in )?(\w+)"
)

# What stands behind a message.
_BEHIND = re.compile(
    r"(?:\s(?:at\s+\S{1,200}\s?\(\S{1,300}:\d+\)|at\s+[\w.$<>]{1,200}\(|at\s\S{1,300}:\d+(?::\d+)?"
    r"|in\s\S{1,300}(?::\d+|\son\sline\s\d+)|Stack trace:|goroutine\s\d+\s\[)|,\s\S{1,300}:\d+:\d+).*$",
    re.DOTALL,
)
_TAIL = re.compile(r"\s\((?:[A-Z]\w*(?:Error|Exception)|[A-Z]\d+|\w+-\w+[\w-]*)\)$|\s\[-W[\w=+-]+\]$|\s\[E?\d+\]$")

_ASKS = re.compile(
    r"(?:why|how|what|where|when|which|who|is|are|does|do|can|could you|should|show|find|explain|handle|fix"
    r"|list(?! index)|add|implement|write|raise|return|throw|code|test|the|function|method|class|if)\b",
    re.IGNORECASE,
)
# How messages begin that nobody asks with.
_OPENS = re.compile(
    r"(?:cannot|can't|could not|couldn't|unable to|failed to|failure to|failed [a-z]+ing|no such|no module named|"
    r"permission denied|access (?:is )?denied|connection (?:refused|reset|aborted|timed out|closed)|segmentation fault|"
    r"out of memory|stack overflow|broken pipe|undefined (?:reference|symbol|method|local variable|variable|index|"
    r"function|offset|array key|property)|use of (?:undeclared|moved|undefined)|assertion failed|index out of|"
    r"division by zero|object reference not set|null pointer|too (?:many|few) (?:arguments|values|open)|"
    r"maximum (?:call stack|recursion)|(?:array|list|string) index|deadlock detected|syntax error)\b",
    re.IGNORECASE,
)
# Beginnings that need what no question has: a value in quotes, a colon.
_MAYBE_OPENS = re.compile(
    r"(?:invalid|unexpected|unknown|missing|unsupported|unrecognized|unrecognised|duplicate|expected|illegal|bad|"
    r"undefined|mismatched|unresolved|incompatible|conflicting|uninitialized|unterminated|corrupt)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(r"""['"`‘“][^'"`\n]{1,200}['"`’”]|: \S|--\w|%[sdv]|\b0x[0-9a-f]+\b|\bgot\b|[{};]""", re.IGNORECASE)
# What messages say in the middle.
_SAYS = re.compile(
    r"\bis not (?:a function|defined|iterable|callable|subscriptable|an? (?:object|constructor|valid)|assignable|"
    r"supported between|JSON serializable)|\bhas no (?:attribute|member|field|property)|\bgot an unexpected keyword|"
    r"\btakes \d+ positional|\bmissing \d+ required|\bdoes not (?:live long enough|exist on type|implement)|"
    r"\b(?:is )?out of (?:range|bounds)\b.*[\d'\"]|\bno such file or directory|\bcannot (?:be|read|find|import|borrow|"
    r"assign|use|convert|open)\b.*['\"`:]|\bnot found: |\bexpected .{1,80}\bgot\b|\bvalue of type\b.*\bcannot\b|"
    r"\bmust be (?:str|int|an?|of|one|greater|less|positive|set|called)\b|\bmay not be (?:null|empty)\b|"
    r"\balready (?:exists|in use)\b.*['\"`:]|\bexit(?:ed with)? (?:status|code) \d|\bhas been blocked by\b|"
    r"\bdid not match any\b|"
    r"\bdoes not match\b.*['\"`:]",
    re.IGNORECASE,
)

# What is longer, and is marked as a message by nothing else, is a description.
MAX_UNMARKED_CHARS = 200


def message_of(text: str) -> str | None:
    """What an error message, log line or traceback says itself; None where a text is none of these.

    Without its time, level, logger, place and the error's name; "" where nothing is left. Of a traceback the message
    of the error that ended it: the last in Python, the last "Caused by:" in Java, else the first.
    """
    is_marked = ":" in text
    if (is_marked or "\n" in text or '", line ' in text) and _FRAME.search(text):
        return _tidy(_raised_in(text))
    said = _FIELD.search(text) if '"' in text and _STRUCTURED.search(text) else None
    if said is not None:
        return said[1].replace('\\"', '"').strip()
    line = text.split("\n", 1)[0]
    message, is_sure = _without_prefixes(line)
    if is_sure:
        return _tidy(message)
    raised = _RAISED.search(text) if is_marked else None
    if raised is not None and raised.end() < len(text):
        said_in = text[raised.end() :].split("\n", 1)[0]
        quote = text[raised.start() - 1] if raised.start() and text[raised.start() - 1] in '`"' else "\n"
        return _tidy(said_in.split(quote, 1)[0])
    tailed = _TAIL.search(line)
    if tailed is not None and "rror" in tailed[0] + line:
        return _tidy(line)
    asks = _ASKS.match(message) is not None or message.endswith("?")
    if not asks and (_OPENS.match(message) or (_MAYBE_OPENS.match(message) and _VALUE.search(message))):
        return _tidy(message)
    return _tidy(message) if not asks and len(message) <= MAX_UNMARKED_CHARS and _SAYS.search(message) else None


def callers_in(text: str) -> tuple[str, ...]:
    """The functions that the lines of a stack name, as written, in their order, without repeats."""
    found = (next(filter(None, match.groups())) for match in _CALLER.finditer(text))
    return tuple(dict.fromkeys(found))


def _raised_in(text: str) -> str:
    """The message of the error that a stack belongs to, with what is around it."""
    causes = list(re.finditer(r"Caused by: ", text))
    if causes:
        return _without_prefixes(text[causes[-1].start() :].split("\n", 1)[0])[0]
    ending = text.rstrip().rpartition("\n")[2]
    if (named := _NAMED.match(ending)) is not None and "Traceback (most" in text:
        return ending[named.end() :]
    raised = list(_RAISED.finditer(text))
    if raised:
        last = raised[-1] if "Traceback (most" in text else raised[0]
        return text[last.end() :].split("\n", 1)[0]
    lines = [line.strip() for line in text.split("\n") if line.strip() and not _FRAME.search(line)]
    message, is_sure = _without_prefixes(text.split("\n", 1)[0])
    if is_sure and message:
        return message
    if not lines:
        return _FRAME.sub("", text).strip(" :,\n")
    return _without_prefixes(lines[0])[0] or (lines[1] if len(lines) > 1 else "")


def _without_prefixes(line: str) -> tuple[str, bool]:
    """A line without what stands before its message, and whether that alone shows that it is one."""
    text, is_sure, is_log = line.strip(), False, False
    for _ in range(12):  # as many as a line has, and a bound
        prefix = _PREFIX.match(text)
        match = prefix or _NAMED.match(text) or _RAISED.match(text) or _LEVEL.match(text)
        is_log = is_log or (match is not None and (prefix is None or prefix["log"] is not None))
        if match is None and is_log:
            match = _BETWEEN.match(text)
        if match is None or not match[0]:
            break
        is_sure = True
        text = text[match.end() :].lstrip(" \t-|")
    return text, is_sure


def _tidy(message: str) -> str:
    text = _TAIL.sub("", _BEHIND.sub("", message.strip())).strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" and text.count(text[0]) == 2:
        text = text[1:-1]
    return text.strip(" \t,")
