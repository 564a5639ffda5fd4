"""Claim, compare and commit ready pairs. This package connects pairing, compare, verdict and report."""

from shadowdiff.worker.comparison_pool import ComparisonPool
from shadowdiff.worker.judge import Judge, Stage, TargetRules, TripleStage
from shadowdiff.worker.pair_counters import PairCounters
from shadowdiff.worker.process_memory import SERVING_EVERY, collect_garbage_every, return_large_blocks
from shadowdiff.worker.shard_worker import ShardWorker

__all__ = [
    "SERVING_EVERY",
    "ComparisonPool",
    "Judge",
    "PairCounters",
    "ShardWorker",
    "Stage",
    "TargetRules",
    "TripleStage",
    "collect_garbage_every",
    "return_large_blocks",
]
