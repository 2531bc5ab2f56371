"""What the command line prints, and how: highlighted on a terminal, grep-like lines in a pipe, failures in one line."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

# Code of strangers may hold escape sequences that move the cursor or rename the window: a terminal gets none of them.
_CONTROLS = dict.fromkeys((*range(0x00, 0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)), "�")

# What a reader is told for each thing that a degraded answer went without.
_DEGRADED = {
    "llm": "no language model answered, so the passages are shown as they are; set OPENAI_API_KEY or LLM_BASE_URL",
    "embedding": "the embedding service is down, so only keywords were matched; see `code-assistant status`",
    "reranker": "the reranker did not answer, so the hits are in the order that they have without it; see RERANK_URL",
}


class _QuietConsole(Console):
    def on_broken_pipe(self) -> NoReturn:
        """The reader has seen enough (`| head`): end without a word."""
        _leave_quietly()


def console() -> Console:
    """Standard output. Made per call, so that a redirected stream is seen."""
    return _QuietConsole(highlight=False, soft_wrap=True)


def error_console() -> Console:
    """Standard error, for all that is not the answer itself."""
    return _QuietConsole(stderr=True, highlight=False, soft_wrap=True)


def emit(text: str) -> None:
    """Write to standard output as it is, at once; a closed pipe ends the program quietly."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()


def say(message: str) -> None:
    """One line on standard error."""
    error_console().print(Text(printable(message)))


def say_degraded(degraded: list[str]) -> None:
    """Tell on standard error what the answer had to do without."""
    for name in degraded:
        say(f"degraded: {_DEGRADED.get(name, name)}")


def say_request(request_id: str) -> None:
    """Tell on standard error by which id the logs tell of an answer; nothing where there is none."""
    if request_id:
        say(f"request {request_id}; what happened: code-assistant logs --request-id {request_id}")


def printable(text: str) -> str:
    """`text` without control characters, tabs and newlines kept."""
    return text.translate(_CONTROLS)


def where(span: Mapping[str, Any]) -> str:
    """`path:start-end` of a hit or a citation."""
    return f"{span['path']}:{span['start_line']}-{span['end_line']}"


def lines_of(span: Mapping[str, Any]) -> list[str]:
    """The lines start_line to end_line of a hit or a source, blank ones at the end too.

    They are an editor's: only line feeds end one (str.splitlines knows ten more ends).
    """
    lines = [line.removesuffix("\r") for line in span["content"].split("\n")]
    return lines[: span["end_line"] - span["start_line"] + 1]


def grep_lines(hit: Mapping[str, Any]) -> str:
    """A hit as `path:line:text`, one line a line of code, as `grep -n` writes them."""
    numbered = enumerate(lines_of(hit), start=hit["start_line"])
    return "".join(f"{hit['path']}:{line}:{text}\n" for line, text in numbered)


def part_of(name: str, value: float, digits: int) -> str:
    """A part of a score for a reader: a rank is a whole number."""
    return f"{value:.0f}" if name.endswith("_rank") else f"{value:.{digits}f}"


def show_hit(
    out: Console,
    hit: Mapping[str, Any],
    repository: str = "",
    *,
    explain: bool = False,
    most_lines: int | None = None,
) -> None:
    """Print a hit for a reader: where it is, its symbol, its code with line numbers (at most `most_lines`)."""
    heading = Text(printable(where(hit)), style="bold cyan")
    if hit.get("symbol"):
        heading.append(f"  {printable(hit['symbol'])}", style="bold")
    if repository:
        heading.append(f"  {repository}", style="dim")
    if explain:
        parts = "  ".join(f"{name} {part_of(name, value, 3)}" for name, value in sorted(hit.get("scores", {}).items()))
        heading.append(f"  score {hit['score']:.3f}  {parts}", style="dim")
    out.print(heading)
    show_code(out, lines_of(hit), hit.get("language", ""), hit["start_line"], most_lines)
    out.print()


def show_code(
    out: Console, lines: Sequence[str], language: str, start_line: int, most_lines: int | None = None
) -> None:
    """Print code with its lines' own numbers: highlighted and wrapped on a terminal, whole lines elsewhere.

    most_lines: after so many, the rest is only counted.
    """
    lines = [printable(line) for line in lines]
    # One line more costs less room than to say that there is one.
    shown = lines if most_lines is None or len(lines) <= most_lines + 1 else lines[:most_lines]
    if out.is_terminal:
        # The console's own soft wrap would have rich cut the lines at the terminal's edge.
        out.print(_highlighted("\n".join(shown), language, start_line), soft_wrap=False)
    else:
        emit("".join(f"{number:>5}  {line}\n" for number, line in enumerate(shown, start=start_line)))
    if len(shown) < len(lines):
        out.print(f"       … {len(lines) - len(shown)} more lines", style="dim")


def _highlighted(code: str, language: str, start_line: int) -> Syntax:
    return Syntax(
        code,
        language or "text",
        theme="ansi_dark",
        line_numbers=True,
        start_line=start_line,
        background_color="default",
        word_wrap=True,
    )


def show_citations(out: Console, citations: list[dict[str, Any]], names: Mapping[str, str]) -> None:
    """List what an answer cites: `[n] path:start-end  repository@commit`."""
    for citation in citations:
        repository = names.get(citation["repository"], citation["repository"])
        commit = f"@{citation['commit'][:10]}" if citation.get("commit") else ""
        line = Text(f"[{citation['index']}] ", style="bold")
        line.append(printable(where(citation)), style="cyan")
        line.append(f"  {repository}{commit}", style="dim")
        out.print(line)


def _leave_quietly() -> NoReturn:
    # Python flushes standard output once more at its end and would complain of the same closed pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(0)
