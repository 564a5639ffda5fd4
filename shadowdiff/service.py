"""Build and wire everything: the only composition root."""
