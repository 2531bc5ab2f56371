"""What people call the languages of the index. Pure."""

from collections.abc import Iterable

from rag_app.core.languages import LANGUAGES
from service_kit.errors import ValidationFailed

# What the index calls a language by another name that people write.
ALIASES: dict[str, tuple[str, ...]] = {
    alias: tuple(languages.split())
    for languages, aliases in {
        "bash": "sh shell zsh",
        "cpp": "c++ cc cxx hpp",
        "csharp": "c# cs dotnet",
        "dockerfile": "docker",
        "elixir": "ex",
        "erlang": "erl",
        "go": "golang",
        "haskell": "hs",
        "html": "htm vue svelte jinja",
        "javascript": "js jsx mjs node nodejs",
        "julia": "jl",
        "kotlin": "kt",
        "latex": "tex",
        "make": "makefile",
        "markdown": "md",
        "perl": "pl",
        "powershell": "ps1",
        "protobuf": "proto",
        "python": "py python3",
        "ruby": "rb",
        "rust": "rs",
        "terraform": "tf hcl",
        # The index tells .ts from .tsx; who writes in it does not.
        "typescript tsx": "ts typescript",
        "yaml": "yml",
    }.items()
    for alias in aliases.split()
}


def as_indexed(names: Iterable[str]) -> tuple[str, ...]:
    """Languages as the index calls them, without repeats, by the names that people write, in any case.

    A name of the index is that language alone: a hit says "typescript", and who filters by it means no tsx.
    ValidationFailed for one that no file can be in: it would find nothing and not say why.
    """
    found: dict[str, None] = {}
    for written in names:
        name = written.strip().lower()
        if name not in LANGUAGES and name not in ALIASES:
            raise ValidationFailed(
                f"no language is called {written[:100]!r}; there are {', '.join(sorted(LANGUAGES))}. In a query "
                f'"lang:{written[:100]}" in double quotes is words'
            )
        found |= dict.fromkeys((name,) if name in LANGUAGES else ALIASES[name])
    return tuple(found)
