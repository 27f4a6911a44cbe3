"""Algorithms over a buffer: C headers, and the same in Python beside them."""
