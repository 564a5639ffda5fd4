"""Register the checks and run them all. A check registers itself with a decorator; every module in `checks/` is loaded.

A check yields findings. `explains` and `explained_by` contain the codes of findings that have the same cause in the
same target: if one finding explains another, the other is omitted, so each problem is reported once. If a check raises
an error, this becomes a finding that names the check, and the other checks still run.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from shadowdiff.doctor.finding import Diagnosis, Finding, Severity, warning

if TYPE_CHECKING:
    from shadowdiff.doctor.evidence import Evidence, TargetEvidence

    GeneralCheck = Callable[[Evidence], Iterator[Finding]]
    TargetCheck = Callable[[Evidence, TargetEvidence], Iterator[Finding]]

log = logging.getLogger(__name__)

_Check = TypeVar("_Check", bound=Callable[..., object])
Codes = Mapping[str, tuple[str, ...]]
_NONE: Final[Codes] = {}
_general: Final[dict[int, GeneralCheck]] = {}
_per_target: Final[dict[int, TargetCheck]] = {}
_explains: Final[dict[str, set[str]]] = {}


class Checks(NamedTuple):
    """All checks in order, and the codes that each finding code explains."""

    general: tuple[GeneralCheck, ...]
    per_target: tuple[TargetCheck, ...]
    explains: Mapping[str, frozenset[str]]


def _register(
    registry: dict[int, _Check], order: int, *, explains: Codes = _NONE, explained_by: Codes = _NONE
) -> Callable[[_Check], _Check]:
    def register(check: _Check) -> _Check:
        if order in registry:
            raise ValueError(f"two checks have the order {order}: {registry[order]} and {check}")
        registry[order] = check
        for code, codes in explains.items():
            _explains.setdefault(code, set()).update(codes)
        for code, causes in explained_by.items():
            for cause in causes:
                _explains.setdefault(cause, set()).add(code)
        return check

    return register


general_check: Final = partial(_register, _general)
"""Registers a check that runs once. order: findings of equal severity are listed by it; no two checks share one."""
target_check: Final = partial(_register, _per_target)
"""Registers a check that runs for each target whose figures can be read; its findings get the target's name."""


@cache
def all_checks() -> Checks:
    """Return every check in `checks/`."""
    package = importlib.import_module(f"{__package__}.checks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return Checks(
        general=tuple(_general[order] for order in sorted(_general)),
        per_target=tuple(_per_target[order] for order in sorted(_per_target)),
        explains={code: frozenset(codes) for code, codes in _explains.items()},
    )


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return every finding that no other finding explains, errors first."""
    found, explains = list(_found(evidence)), all_checks().explains
    first: dict[tuple[str, ...], Finding] = {}
    for one in found:
        if any(one.code in explains.get(other.code, ()) and other.concerns(one.target) for other in found):
            continue
        may_repeat = one.code in {"check_failed", "evidence_unreadable"}  # several checks and reads may fail
        first.setdefault((one.code, one.target, one.title if may_repeat else ""), one)
    kept = sorted(first.values(), key=lambda finding: finding.severity is not Severity.ERROR)
    names = tuple(target.name for target in evidence.targets)
    return Diagnosis(at_ms=evidence.now_ms, targets=names, findings=tuple(kept))


def _found(evidence: Evidence) -> Iterator[Finding]:
    every = all_checks()
    for of_all in every.general:
        yield from _checked(of_all, "", evidence)
    for target in evidence.targets:
        for of_one in every.per_target if target.is_readable else ():
            yield from _checked(of_one, target.name, evidence, target)


def _checked(
    check: Callable[..., Iterator[Finding]], target: str, *arguments: Evidence | TargetEvidence
) -> Iterator[Finding]:
    """Yield the findings of one check for `target`, and another finding if the check raises an error."""
    try:
        for finding in check(*arguments):
            yield msgspec.structs.replace(finding, target=finding.target or target)
    except Exception as error:
        name = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
        log.exception("doctor check failed", extra={"check": name, "target": target})
        yield warning(
            code="check_failed",
            target=target,
            title=f"The check {name} failed: {type(error).__name__}: {error}"[:300],
            explanation="This is a bug in shadowdiff. This check has no result; the other checks ran.",
            fix='Report this error with its traceback, which the service logs as "doctor check failed".',
        )
