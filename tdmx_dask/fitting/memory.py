"""How much memory a fit may need."""

LEAST_MB = 100.0
"""The least that a batch asks for, MB (10^6 bytes)."""
