"""Paths and file names that a query speaks of. Pure."""

import re
from collections.abc import Sequence

# Suffixes of files that people name. Not those that are as often a member of something: .log, .map, .text, .d, .m.
_SUFFIXES = (
    "py pyi pyx pyw ipynb js mjs cjs jsx ts mts cts tsx vue svelte java kt kts scala go rs c h cc cpp cxx hh hpp hxx "
    "cs fs vb rb rake gemspec php phtml swift sh bash zsh fish ps1 bat lua pl pm r jl hs ex exs erl clj dart zig nim "
    "md mdx rst txt adoc html htm xhtml css scss sass less json jsonc json5 yaml yml toml ini cfg conf properties xml "
    "svg xsd sql proto graphql gql tf tfvars hcl gradle cmake mk csproj sln lock sum mod env tex sol csv tsv j2 jinja2 "
    "tmpl erb haml ejs hbs"
)
_SUFFIX = "|".join(sorted(_SUFFIXES.split(), key=len, reverse=True))
_NAMED = (
    r"Makefile|GNUmakefile|Dockerfile|Containerfile|Rakefile|Gemfile|Procfile|Vagrantfile|Jenkinsfile|LICENSE|README"
    r"|CHANGELOG|\.(?:gitignore|dockerignore|editorconfig|eslintrc|prettierrc|npmrc|bashrc|env|babelrc)(?:\.\w{1,9})?"
)

# A run of what paths are written with; what it is, is decided by looking at the whole of it.
_RUN = re.compile(
    r"(?<![\w/\\.@~$-])(?:[A-Za-z]:[\\/])?+[\w@$+~.\-/\\\[\]{}*]++(?:\#L\d++(?:-L?\d++)?|:\d++(?:[:-]\d++)?)?+"
)
_LINES = re.compile(r"(?:#L\d+(?:-L?\d+)?|:\d+(?:[:-]\d+)?)$")

_FILE = re.compile(rf"(?:[\w@$+~.\-\[\]]*[\w\]]\.(?:{_SUFFIX})|(?:{_NAMED}))", re.ASCII)
_NAMES = re.compile(_NAMED)
_SEGMENT = re.compile(r"[\w@$+~.\-\[\]{}*]+")

# Products that are called like files, and members that are.
_NO_FILES_WORDS = (
    "node.js vue.js next.js nuxt.js three.js d3.js express.js react.js angular.js backbone.js ember.js chart.js "
    "alpine.js response.json request.json res.json resp.json req.json r.json self.json this.json self.lock "
    "this.lock self.env process.env self.conf app.conf self.sum np.sum self.css self.html self.c self.h self.r "
    "self.mod os.env"
)

# Two words with a slash between them that are no folder.
_NO_FOLDERS_WORDS = (
    "and/or i/o tcp/ip client/server read/write input/output on/off true/false yes/no either/or he/she his/her r/w "
    "n/a a/b get/set push/pull open/close request/response key/value start/stop if/else try/catch try/except w/o "
    "encode/decode add/remove up/down left/right html/css async/await http/https udp/tcp"
)
_FOLDERS_WORDS = (
    "src lib libs test tests spec specs docs doc app apps pkg cmd internal examples example include packages api "
    "core utils util tools scripts bin config configs build dist vendor web server client components crates "
    "modules"
)

_NO_FILES = frozenset(_NO_FILES_WORDS.split())
_NO_FOLDERS = frozenset(_NO_FOLDERS_WORDS.split())
_FOLDERS = frozenset(_FOLDERS_WORDS.split())


def cleaned(path: str) -> str:
    """A path with '/' between its folders, without a drive and ./ before it; a slash at its end stays."""
    path = re.sub(r"^[A-Za-z]:(?=[\\/])", "", path.strip()).replace("\\", "/")
    return re.sub(r"^(?:\.{0,2}/+)+", "", path)


def without_lines(path: str) -> str:
    """A path without the lines behind it: "app.py:12", "app.py:12:5", "app.py:12-30" and "app.py#L12" are app.py."""
    return _LINES.sub("", path)


def names_file(path: str) -> bool:
    """Whether the last part of a path looks like a file's name: it has a suffix of letters, or is called Makefile."""
    name = path.rpartition("/")[2]
    return re.fullmatch(r".+\.[A-Za-z]\w*", name) is not None or _NAMES.fullmatch(name) is not None


def one_path(text: str) -> str:
    """The path, as paths are kept, where a text is one and nothing else; else ""."""
    text = text.strip("`")
    match = _RUN.match(text)
    if match is None or len(text) > 1_000:
        return ""
    rest = text[match.end() :]
    if rest and not re.fullmatch(
        r":|\(\d{1,7}(?:, ?\d{1,7})?\):?|,? (?:on )?line \d{1,7}|(?:::\w+)+(?:\[[^\]]*\])?", rest
    ):
        return ""
    return _path(match[0], is_alone=True)


def paths_in(text: str) -> tuple[str, ...]:
    """The paths and file names in a text, in their order, without repeats."""
    runs = (run.rstrip(".,") for run in _RUN.findall(text) if not run.isalpha() or _NAMES.fullmatch(run))
    found = (_path(run, is_alone=False) for run in runs if run)
    return tuple(dict.fromkeys(path for path in found if path))[:_MAX_PATHS]


def lines_in(text: str, paths: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """(path, line) for the lines that a text tells of `paths`, as paths_in gives them: app.py:12, app.py#L12,
    app.py(12) and "app.py", line 12."""
    found: dict[tuple[str, int], None] = {}
    for path in paths:
        name = re.escape(path.rpartition("/")[2])
        told = re.findall(rf'(?<![\w.-]){name}(?:[:(]|#L|"?,? (?:on )?line )(\d{{1,7}})', text) if name else ()
        found |= dict.fromkeys((path, int(line)) for line in told)
    return tuple(found)[:_MAX_PATHS]


# http://x/y.html is no file of the repository.
ADDRESS = re.compile(r"(?<!\w)\w++://\S*+")

# A traceback names a few files; what names more is a listing.
_MAX_PATHS = 32


def _path(run: str, *, is_alone: bool) -> str:
    """What a run of characters says as a path, "" where it says none. is_alone: there is nothing beside it."""
    written = without_lines(run)
    path = cleaned(written)
    *folders, name = path.rstrip("/").split("/")
    if not name or not all(_SEGMENT.fullmatch(part) for part in [*folders, name]) or path.lower() in _NO_FILES:
        return ""
    if _FILE.fullmatch(name):
        return path
    if "\\" in written and "/" not in written and written.lstrip("\\")[:1].isupper() and ":" not in written[:2]:
        return ""  # App\Http\Kernel is a name of PHP
    if not folders:
        return path if path.endswith("/") and re.match(r"[A-Za-z_.]", written) else ""
    if not is_alone and "\\" in written:
        return ""
    if path.lower() in _NO_FOLDERS or not re.search("[a-z]", path, re.I):
        return ""
    if folders[0] in _FOLDERS or written.startswith((".", "~")):
        return path
    if written.startswith(("/", "\\")):
        return ""  # more often the route of a web service
    if path.endswith("/"):
        return path
    return path if is_alone and re.match(r"[A-Za-z_@.]", path) else ""
