"""The words of the product as frozen, slotted types. Imports nothing of the project."""

from shadowdiff.model.comparison import Comparison, Difference, Kind, Result, Severity
from shadowdiff.model.observation import Failure, Headers, Observation, Pair, Side
from shadowdiff.model.target import UNKNOWN_TARGET, Candidate, Control, Gate, HostPolicy, Target
from shadowdiff.model.write import Describe, Expire, Incr, Keep, Push, Put, Score, Write

__all__ = [
    "UNKNOWN_TARGET",
    "Candidate",
    "Comparison",
    "Control",
    "Describe",
    "Difference",
    "Expire",
    "Failure",
    "Gate",
    "Headers",
    "HostPolicy",
    "Incr",
    "Keep",
    "Kind",
    "Observation",
    "Pair",
    "Push",
    "Put",
    "Result",
    "Score",
    "Severity",
    "Side",
    "Target",
    "Write",
]
