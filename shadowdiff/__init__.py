"""shadowdiff: compare v2's responses with the real responses of v1, on traffic that a mesh mirrors."""

__version__ = "0.1.0"
