"""The composition root: build and wire everything, start, drain, stop."""

from shadowdiff.service.run import run, run_workers

__all__ = ["run", "run_workers"]
