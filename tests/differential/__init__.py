"""Check the comparison against a slow, simple reference without shared code."""
