"""Measures of predictions and of networks, as pure functions."""
