"""Tables of plain text, and figures beside their targets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a headline figure; at_least False: at most."""

    bound: float
    at_least: bool = True
    aim: float | None = None

    def verdict(self, value: float | None) -> str:
        """In words; an unmeasured figure is neither."""
        sign = ">=" if self.at_least else "<="
        wanted = f"{sign} {self.bound:g}" + (f" (aim {self.aim:g})" if self.aim else "")
        if value is None:
            return f"not measured; wanted {wanted}"
        is_reached = value >= self.bound if self.at_least else value <= self.bound
        return f"{'reached' if is_reached else 'NOT reached'}: wanted {wanted}"


def verdicts(figures: Mapping[str, float | None], targets: Mapping[str, Target]) -> str:
    """Each headline figure beside its target."""
    width = max(map(len, figures))
    return "\n".join(
        f"{name:<{width}}  {'-' if value is None else f'{value:g}':>8}  {targets[name].verdict(value)}"
        for name, value in figures.items()
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their columns. A row of a name and a sentence says why there is nothing; it widens no column."""
    measured = [row for row in rows if len(row) == len(columns)]
    widths = [max(len(row[index]) for row in [columns, *measured]) for index in range(len(columns))]
    widths[0] = max(len(row[0]) for row in [columns, *rows])
    return "\n".join([title, *(_line(row, widths) for row in [columns, *rows])])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name = row[0].ljust(widths[0])
    if len(row) < len(widths):
        return f"{name}  {row[1]}"
    return "  ".join([name, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
