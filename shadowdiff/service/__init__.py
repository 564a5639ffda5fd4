"""The composition root: build and connect all components, then start, drain and stop them."""

from shadowdiff.service.run import run, run_workers

__all__ = ["run", "run_workers"]
