"""The tree-sitter grammars at hand: one package for each language, loaded when it is first asked for."""

import functools
from collections.abc import Mapping
from importlib import import_module

from tree_sitter import Language, Parser

# Language -> the package of its grammar, and the function in it: those that are outlined, and a few that code is often
# asked for in. A package for each and no pack of all: docs/decisions/0010.
_BINDINGS: Mapping[str, tuple[str, str]] = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "css": ("tree_sitter_css", "language"),
    "go": ("tree_sitter_go", "language"),
    "html": ("tree_sitter_html", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "json": ("tree_sitter_json", "language"),
    "kotlin": ("tree_sitter_kotlin", "language"),
    "lua": ("tree_sitter_lua", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "scala": ("tree_sitter_scala", "language"),
    "swift": ("tree_sitter_swift", "language"),
    "toml": ("tree_sitter_toml", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "yaml": ("tree_sitter_yaml", "language"),
}

LANGUAGES = frozenset(_BINDINGS)


@functools.cache
def grammar(language: str) -> Language:
    """The grammar of one of LANGUAGES; KeyError for another. Loaded once: up to 5 MB of tables."""
    package, function = _BINDINGS[language]
    return Language(getattr(import_module(package), function)())


def parser(language: str) -> Parser:
    """A parser of its own for the caller, since one parses one text at a time. KeyError as `grammar`."""
    return Parser(grammar(language))
