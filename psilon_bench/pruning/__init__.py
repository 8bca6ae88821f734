"""Pruners, which bring weights or units of one network to exact zeros."""
