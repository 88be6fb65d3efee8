"""Figures made once: most of the time of a page with many figures goes into making them."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from plotly.graph_objects import Figure


@st.cache_resource(max_entries=100, show_spinner=False)
def once(key: tuple, _make: Callable[[], Figure]) -> Figure:
    """The figure of this key, for all sessions. The key names everything it depends on; results never change."""
    return _make()
