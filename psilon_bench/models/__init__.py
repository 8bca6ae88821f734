"""Networks and their layers, what networks may offer to regularizers, pruners and metrics, and baselines."""
