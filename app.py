"""RewindLab's dashboard. `streamlit run app.py`, or `make app`."""

from contextlib import asynccontextmanager

import streamlit as st

from core.demo import start_demo_on_empty_store


@asynccontextmanager
async def _start(app: st.App):
    start_demo_on_empty_store()
    yield {}


app = st.App("pages/main.py", lifespan=_start)
