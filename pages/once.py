"""Figures and tables made once: most of the time of a page goes into making them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


@st.cache_resource(max_entries=200, show_spinner=False)
def once(key: tuple, _make: Callable[[], T]) -> T:
    """The figure, figures or table of this key, for all sessions. The key names everything it depends on; results never
    change."""
    return _make()
