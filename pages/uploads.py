"""Files that people bring: kept in the store, and remembered for the session when they leave the page."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from pages import experiments

KEPT = "uploads"


def uploaded(label: str, key: str, types: list[str], about: str) -> Path | None:
    """An upload field and where its file lies in the store; None while there is none.

    Streamlit forgets an upload when another page is shown: what was brought before stays, until it is removed.
    """
    kept: dict[str, tuple[str, str]] = st.session_state.setdefault(KEPT, {})
    widget = f"upload-{key}"
    given = st.file_uploader(label, type=types, key=widget, help=about, on_change=_changed, args=(key, widget))
    if given is not None and kept.get(key, ("",))[0] != given.file_id:
        kept[key] = (given.file_id, str(experiments.open_store().upload(given.getvalue(), given.name)))
    if key not in kept:
        return None
    path = Path(kept[key][1])
    if given is None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Kept from before: {path.name}")
            st.button("Remove", key=f"remove-{key}", on_click=_forget, args=(key,), type="tertiary")
    return path


def say(problem: object) -> None:
    """An error message in which uploaded files go by their name, not by where the store keeps them."""
    folder = re.escape(str(experiments.open_store().root / "uploads"))
    st.error(re.sub(rf"{folder}/[0-9a-f]+/", "", str(problem)), icon=":material/error:")


def _changed(key: str, widget: str) -> None:
    if st.session_state.get(widget) is None:
        _forget(key)


def _forget(key: str) -> None:
    st.session_state.get(KEPT, {}).pop(key, None)
