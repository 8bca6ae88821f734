"""Networks, their layers, and baselines."""
