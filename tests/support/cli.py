"""Runs the command line in this process and tells what a user would see."""

from dataclasses import dataclass

import pytest

from rag_app.cli.main import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Cli:
    """Runs `code-assistant` against `url`."""

    url: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--server", self.url])
        captured = self.capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int | None)
        return Outcome(code or 0, captured.out, captured.err)
