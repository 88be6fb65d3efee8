"""Colours with one fixed meaning each, chosen to be told apart by colour-blind readers on white and on near-black.

A colour never stands alone: whatever takes one from here also takes the dash, marker or pattern beside it.
Categorical colours are from Okabe & Ito (2008); scores use the perceptually uniform maps Inferno and Viridis.
"""

from __future__ import annotations

from dataclasses import dataclass

from plotly.colors import sample_colorscale


@dataclass(frozen=True)
class Ink:
    """How one meaning is drawn: a colour, and the dash, marker and bar pattern that repeat it without colour."""

    color: str
    dash: str = "solid"
    symbol: str = "circle"
    pattern: str = ""

    def faded(self, alpha: float) -> str:
        """The colour with an opacity in [0, 1], as CSS rgba()."""
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{alpha:g})"


MEMBER = Ink("#D55E00", "solid", "circle")
NON_MEMBER = Ink("#0072B2", "dash", "square")
BEFORE = Ink("#808080", "dot", "circle-open")
AFTER = Ink("#009E73", "solid", "diamond")
VULNERABILITY = Ink("#BC3754", "solid", "diamond")
"""The middle of Inferno, for marks that carry one vulnerability rather than a scale."""
LEARNABILITY = Ink("#21918C", "dash", "square", "/")
"""The middle of Viridis."""
CONTEXT = Ink("#9A9A9A", "dot", "circle-open")
"""Everything that is there for comparison only: chance, an even spread, weights that stay."""


def _scale(name: str) -> list[tuple[float, str]]:
    """A named Plotly scale as rgb() stops.

    As hexadecimals the darkest stop of Inferno, #000004, is one of the placeholders that Streamlit's theme replaces
    by colours of its own.
    """
    stops = [step / 20 for step in range(21)]
    return list(zip(stops, sample_colorscale(name, stops), strict=True))


INFERNO = _scale("Inferno")
VIRIDIS = _scale("Viridis")
COUNTS = _scale("Cividis")
"""How many weights fall in a cell: neither score's map, so that it is not read as a score."""
SIGNED = _scale("PuOr")
"""Values around zero; members and non-members own red and blue."""

GRID = "rgba(128,128,128,0.22)"
"""A grid line that can be seen, and overlooked, on both themes."""
SHADE = "rgba(128,128,128,0.16)"

ATTACK_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

WHEN = {"before": BEFORE, "after": AFTER}
SPLITS = {"members": MEMBER, "non-members": NON_MEMBER}
SCORES = {"vulnerability": VULNERABILITY, "learnability": LEARNABILITY}
