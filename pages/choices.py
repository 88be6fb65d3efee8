"""Choices about one experiment that several pages offer and share: the fraction r and the regions in scope."""

from __future__ import annotations

import streamlit as st

from core.figures.numbers import fraction as written
from core.rewinding import CWRF
from pages.frame import Current

STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Positions of the slider within each decade."""


def fraction(now: Current, key: str) -> float:
    """The share of weights to rewind, on a log slider from 0.01 % to 50 %; starts at the experiment's own."""
    own = st.session_state.get("fraction", defence(now).fraction)
    options = sorted({own, 0.5, *(s * 10**d for d in (-4, -3, -2, -1) for s in STEPS if s * 10**d < 0.5)})
    chosen = st.select_slider(
        "Share of weights to rewind, r",
        options,
        value=own,
        format_func=written,
        key=f"{key}-fraction-{now.key}",
        help="The most vulnerable weights in scope are rewound first. The scale is logarithmic.",
    )
    st.session_state["fraction"] = chosen
    return chosen


def regions(now: Current) -> list[str]:
    """The regions ticked on the Layer risk page, else those of the experiment; empty: all."""
    return list(st.session_state.get("regions", defence(now).regions))


def defence(now: Current) -> CWRF:
    """The experiment's own rewind, or the default one; a model that somebody brought keeps its own weights as base."""
    return now.config.defence or CWRF(base="trained" if now.config.weights else "pve")
