"""Measures of predictions and of networks: pure functions."""
