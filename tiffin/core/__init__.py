"""PURE types and rules: no clock, no randomness, no I/O. Everyone may import them."""
