"""The checks of `doctor`, one family per module; `doctor/registry.py` loads them all."""
