"""The composition root: build and wire everything, start, drain, stop."""

from shadowdiff.service.run import run

__all__ = ["run"]
