"""RewindLab's dashboard. `streamlit run app.py`, or `make app`."""

from contextlib import asynccontextmanager
from threading import Thread

import streamlit as st

from core.demo import start_demo_on_empty_store
from pages.warm import warm


@asynccontextmanager
async def _start(app: st.App):
    start_demo_on_empty_store()
    Thread(target=warm, daemon=True).start()  # the server answers meanwhile
    yield {}


app = st.App("pages/main.py", lifespan=_start)
