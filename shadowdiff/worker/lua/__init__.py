"""The Redis scripts of the worker."""
