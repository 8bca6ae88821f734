"""Penalties, proxes and decays, each for one network."""
