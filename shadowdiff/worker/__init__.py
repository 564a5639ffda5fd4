"""Compare what is ready: claim, judge, commit. Joins pairing, compare, verdict and report."""

from shadowdiff.worker.collecting import SERVING_EVERY, collect_seldom
from shadowdiff.worker.judge import Judge, Lens, Stage, TripleStage
from shadowdiff.worker.loop import Worker
from shadowdiff.worker.pool import ComparisonPool
from shadowdiff.worker.tally import Tally

__all__ = [
    "SERVING_EVERY",
    "ComparisonPool",
    "Judge",
    "Lens",
    "Stage",
    "Tally",
    "TripleStage",
    "Worker",
    "collect_seldom",
]
