"""Router and the frame around every page: navigation, the current experiment, and what is running."""

import streamlit as st

from core.config import BadInput
from pages import experiments, sidebar

st.set_page_config(page_title="RewindLab", page_icon=":material/history:", layout="wide")

page = st.navigation(
    {
        "Experiment": [
            st.Page("overview.py", title="Overview", icon=":material/dashboard:", default=True),
            st.Page("model.py", title="Model", icon=":material/model_training:"),
        ],
        "Where it memorises": [
            st.Page("critical_weights.py", title="Critical weights", icon=":material/grain:"),
            st.Page("layer_risk.py", title="Layer risk", icon=":material/stacked_bar_chart:"),
        ],
        "What to do about it": [
            st.Page("rewind.py", title="Rewind", icon=":material/history:"),
            st.Page("attacks.py", title="Attacks", icon=":material/target:"),
            st.Page("trade_off.py", title="Trade-off", icon=":material/balance:"),
        ],
    }
)
try:
    experiments.open_store()
except BadInput as error:
    st.error(str(error), icon=":material/folder_off:")
    st.stop()
sidebar.show()
try:
    page.run()
except BadInput as error:  # such as an experiment that is not finished and whose records have been moved
    st.error(f"The rest of this page cannot be drawn: {error}.", icon=":material/error:")
