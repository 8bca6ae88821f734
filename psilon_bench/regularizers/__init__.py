"""Penalties, proximal operators and weight decays, each written for one network."""
