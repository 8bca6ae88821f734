"""Engines: what trains a stack of networks or fits a baseline, and returns values."""
