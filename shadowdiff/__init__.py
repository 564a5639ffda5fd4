"""shadowdiff: compare v2 with the answers that v1 really gave, on the traffic a mesh mirrors."""

__version__ = "0.1.0"
