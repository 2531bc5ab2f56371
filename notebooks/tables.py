"""Tables for the eye: Markdown where a notebook is shown, plain text elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

# Plots of all notebooks: Okabe and Ito's colours, which people who see few colours tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE = {
    "figure.figsize": (8.0, 3.6),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "font.size": 10,
}


class Table:
    """Rows with the same keys, which become the heading."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]):
        """rows: at least one; numbers that are not whole are shown with three decimals."""
        self.rows = list(rows)

    def _repr_markdown_(self) -> str:
        head = list(self.rows[0]) if self.rows else ["nothing"]
        lines = [head, ["---"] * len(head), *([_cell(row[name]) for name in head] for row in self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def __repr__(self) -> str:
        """As Markdown, which reads well as text."""
        return self._repr_markdown_()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"
    text = "–" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
