"""Compare what is ready: claim, judge, commit. Joins pairing, compare, verdict and report."""

from shadowdiff.worker.judge import Judge, Lens, Stage, TripleStage
from shadowdiff.worker.loop import Worker
from shadowdiff.worker.pool import ComparisonPool
from shadowdiff.worker.tally import Tally

__all__ = ["ComparisonPool", "Judge", "Lens", "Stage", "Tally", "TripleStage", "Worker"]
