"""The two choices that travel from page to page: the fraction r, and the regions in the scope of the rewind.

They lie in session state as plain values, "fraction" (float) and "regions" (list, empty: all), not as keys of
widgets, because Streamlit forgets a widget once its page is left. Until a person chooses, the experiment's own
defence speaks.
"""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from core.figures import numbers as n
from pages.experiments import Current

STEPS = tuple(
    r for power in (-4, -3, -2, -1) for d in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if (r := float(f"{d}e{power}")) <= 0.5
)
"""0.01 % to 50 %, ten to the decade, all of them two significant digits."""


def fraction(now: Current) -> float:
    """The r chosen in this session, else the experiment's."""
    own = now.cwrf.fraction
    chosen = st.session_state.get("fraction")
    return float(chosen) if isinstance(chosen, int | float) and 0 < chosen < 1 else own


def fraction_slider(now: Current, page: str) -> float:
    """r on a log slider. A value between its steps, as another page or a config may give, becomes one of them."""
    r, key = fraction(now), f"{page}-fraction-{now.key}"
    # by label, so that no two stops read alike
    stops = {n.fraction(step): step for step in STEPS} | {n.fraction(r): r}

    def keep() -> None:
        st.session_state["fraction"] = st.session_state[key]

    return st.select_slider(
        "Fraction r of the weights, highest ranking first",
        sorted(stops.values()),
        value=r,
        format_func=n.fraction,
        key=key,
        on_change=keep,
        help="Logarithmic. The same r is used on every page of this session.",
    )


def regions(now: Current, known: Iterable[str]) -> list[str]:
    """The regions chosen in this session, else the experiment's, as far as this network has them; empty: all."""
    chosen = st.session_state.get("regions")
    if chosen is None:
        chosen = now.cwrf.regions
    return [region for region in known if region in chosen]
