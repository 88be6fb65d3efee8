"""Many experiments as one job: what a sweep is, ready-made ones, their cost, running them, and what they found."""
