"""RewindLab's engine: scores, rewinding, attacks and their statistics. Never imports streamlit."""
