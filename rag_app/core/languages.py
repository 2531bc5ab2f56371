"""Which language a file is in, and what all of them are called. Pure."""

from pathlib import PurePosixPath

_BY_SUFFIX = {
    suffix: language
    for language, suffixes in {
        "python": "py pyi pyw",
        "javascript": "js mjs cjs jsx",
        "typescript": "ts mts cts",
        "tsx": "tsx",
        "java": "java",
        "go": "go",
        "rust": "rs",
        "c": "c h",
        "cpp": "cc cpp cxx c++ hh hpp hxx h++ ipp cu cuh",
        "csharp": "cs",
        "ruby": "rb rake gemspec",
        "php": "php phtml",
        "kotlin": "kt kts",
        "swift": "swift",
        "scala": "scala sc sbt",
        "bash": "sh bash zsh ksh",
        "lua": "lua",
        "markdown": "md markdown mdx",
        "rst": "rst",
        "html": "html htm xhtml vue svelte jinja jinja2 j2",
        "css": "css scss sass less",
        "json": "json jsonc json5 ipynb",
        "yaml": "yaml yml",
        "toml": "toml",
        "ini": "ini cfg conf properties",
        "xml": "xml svg xsd xsl plist",
        "sql": "sql",
        "protobuf": "proto",
        "graphql": "graphql gql",
        "haskell": "hs",
        "elixir": "ex exs",
        "erlang": "erl hrl",
        "perl": "pl pm",
        "r": "r",
        "julia": "jl",
        "dart": "dart",
        "zig": "zig",
        "powershell": "ps1 psm1",
        "latex": "tex",
        "solidity": "sol",
        "terraform": "tf tfvars hcl",
    }.items()
    for suffix in suffixes.split()
}

_BY_NAME = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "cmakelists.txt": "cmake",
}

_BY_INTERPRETER = {
    "python": "python",
    "bash": "bash",
    "sh": "bash",
    "zsh": "bash",
    "node": "javascript",
    "ruby": "ruby",
}

# What a file that is in none of them is in.
TEXT = "text"

LANGUAGES = frozenset({*_BY_SUFFIX.values(), *_BY_NAME.values(), *_BY_INTERPRETER.values(), TEXT})


def language_of(path: str, first_line: str = "") -> str:
    """The language of a file by its name, else by its `#!` line, else TEXT."""
    file = PurePosixPath(path.lower())
    found = _BY_NAME.get(file.name) or _BY_SUFFIX.get(file.suffix.lstrip("."))
    if found is None and first_line.startswith("#!"):
        words = [PurePosixPath(word).name.rstrip("0123456789.") for word in first_line[2:].split()]
        found = next((_BY_INTERPRETER[word] for word in words if word in _BY_INTERPRETER), None)
    return found or TEXT
