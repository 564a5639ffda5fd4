"""Count the changes of mismatches, per target and run, as plain increments in the commit of each pair.

Causes are computed from these counts when somebody reads them. The order of pairs does not matter, and counts are exact
until a table is full. A table's size is limited; the rest counts as `_other`. Parameters are made safe before they are
stored. Equal sets in one second use the same writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Describe, Expire, Incr, Score
from shadowdiff.report.change import CHANGE_ID_CHARS, Change, bounded_name, changes_of
from shadowdiff.report.fingerprint import HOUR_MS, HOURS_LIVE_S, MINUTE_MS, MINUTES_LIVE_S, RANKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shadowdiff.model import Comparison, Difference, Pair, Write
    from shadowdiff.report.change import ChangeSet

MOST_SETS: Final = 5000
MOST_CHANGES: Final = 2000
PARAMETERS: Final = 8
"""How many parameters of one change and relation a process counts; it counts the others as `OTHER_PARAMETER`."""
OTHER_PARAMETER: Final = "_"
PARAMETER_AT: Final = CHANGE_ID_CHARS + 2
"""Where the parameter begins in a field of the table `params`."""
MOST_PARAMETERS: Final = 16_000
MOST_IN_STEP: Final = 300
"""The number of sets with a count of their own in one step of a trend, because a target has 1,000 steps."""
LIFE_S: Final = 35 * 86_400
"""How long a table outlives its last pair."""
_TRACKED: Final = 4096
"""Of how many changes and relations a process remembers the parameters."""
_REVISION_CHARS: Final = 100
_PARAMETER_CHARS: Final = 100
PARTS: Final = ("sets", "changes", "alone", "params")
"""The tables of a run: pairs by set, by change, by change if the pair has no other change, and by parameter."""


SafeParameter = Callable[["Pair", "Difference", int, str], str]


class CountedRun(msgspec.Struct, frozen=True):
    """The run in which a pair counts, and v2's revision in that pair; empty if it is unknown."""

    id: int
    revision: str = ""


def table_key(target: str, run_id: int, part: str) -> str:
    """Return the key of one of the `PARTS` of a run."""
    return f"causes:{run_id}:{part}:{target}"


def history_key(target: str, part: str) -> str:
    """Return the key of data that outlives runs.

    By change: `first`, `changed` (last sight, in whole minutes), `worst` and `revision`. By set: `last`.
    """
    return f"causes:{part}:{target}"


def set_bucket_key(target: str, step_ms: int, at_ms: int) -> str:
    """Return the key of the counts of sets for the minute or hour at `at_ms`."""
    return history_key(target, f"{'minute' if step_ms == MINUTE_MS else 'hour'}:{at_ms // step_ms}")


def parameter_field(change: str, bit: int, text: str) -> str:
    """Return the hash field that counts one parameter of a change: its id, two digits for the relation, the text."""
    return f"{change}{bit.bit_length():02}{text}"


def parameter_of(field: str) -> tuple[str, int, str]:
    """Return the change's id, the relation's bit and the parameter of a field. Raises: ValueError."""
    at = CHANGE_ID_CHARS
    return field[:at], 1 << int(field[at:PARAMETER_AT]) - 1, field[PARAMETER_AT:]


class CauseWrites:
    """A stage of the worker that counts the changes of each mismatch.

    run_of: the run in which a pair counts, or None.  is_on: whether a target counts changes.
    safe_parameter: returns a parameter in a form that may be stored and shown, given its pair, difference and relation.
    """

    def __init__(
        self,
        run_of: Callable[[Pair], CountedRun | None],
        is_on: Callable[[str], bool],
        safe_parameter: SafeParameter,
        most_differences: int = 100,
    ) -> None:
        self._run_of = run_of
        self._is_on = is_on
        self._most_differences = most_differences
        self._parameters = _ParameterCounts(safe_parameter)
        self._second = 0
        self._made: dict[tuple[str, int, str], tuple[Write, ...]] = {}
        self._minute = 0
        self._described: set[tuple[str, str, str]] = set()

    def __call__(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        """Return the writes of one pair."""
        found = changes_of(pair, comparison, self._most_differences) if self._is_on(pair.target) else None
        run = self._run_of(pair) if found else None
        if found is None or run is None:
            return ()
        return (*self._set_writes(pair.target, run, found, at_ms), *self._parameters.writes(pair, comparison, run.id))

    def _set_writes(self, target: str, run: CountedRun, found: ChangeSet, at_ms: int) -> tuple[Write, ...]:
        second = at_ms // 1000
        if second != self._second:
            self._second = second
            self._made.clear()
        name = (target, run.id, found.field)
        known = self._made.get(name)
        if known is None:
            counted = _counted(target, run.id, found, second * 1000)
            known = self._made[name] = (*counted, *self._descriptions(target, run, found, second * 1000))
        return known

    def _descriptions(self, target: str, run: CountedRun, found: ChangeSet, at_ms: int) -> Iterator[Write]:
        """Yield what describes each change. The store might have lost it, so this is written again every minute."""
        if at_ms // MINUTE_MS != self._minute:
            self._minute = at_ms // MINUTE_MS
            self._described.clear()
        for change, severity in zip(found.changes, found.severities, strict=True):
            name = (target, change.id, severity)
            if name in self._described:
                continue
            self._described.add(name)
            yield Score(history_key(target, "first"), change.id, at_ms, "first", MOST_CHANGES)
            yield Score(history_key(target, "changed"), change.id, at_ms, "greatest", MOST_CHANGES)
            yield Score(history_key(target, "worst"), change.id, RANKS[severity], "greatest", MOST_CHANGES)
            revision = run.revision[:_REVISION_CHARS].encode("utf-8", "replace")
            yield Describe(history_key(target, "revision"), change.id, revision, MOST_CHANGES)


def _counted(target: str, run_id: int, found: ChangeSet, at_ms: int) -> Iterator[Write]:
    """Yield the writes that count one set."""
    sets, changes, alone = (table_key(target, run_id, part) for part in PARTS[:3])
    yield Incr(sets, found.field, 1, MOST_SETS)
    yield Expire(sets, LIFE_S)
    for change in found.changes:
        yield Incr(changes, change.field, 1, MOST_CHANGES)
    yield Expire(changes, LIFE_S)
    if len(found.changes) == 1 and not found.has_more:
        yield Incr(alone, found.changes[0].id, 1, MOST_CHANGES)
        yield Expire(alone, LIFE_S)
    yield Score(history_key(target, "last"), found.id, at_ms, "greatest", MOST_SETS)
    for step_ms, lives_s in ((MINUTE_MS, MINUTES_LIVE_S), (HOUR_MS, HOURS_LIVE_S)):
        bucket = set_bucket_key(target, step_ms, at_ms)
        yield Incr(bucket, found.id, 1, MOST_IN_STEP)
        yield Expire(bucket, lives_s)


class _ParameterCounts:
    """Creates the writes that count parameters; remembers the first few of each change and relation."""

    def __init__(self, safe_parameter: SafeParameter) -> None:
        self._safe_parameter = safe_parameter
        self._known: OrderedDict[tuple[str, int, Change, int], dict[str, Incr]] = OrderedDict()

    def writes(self, pair: Pair, comparison: Comparison, run_id: int) -> tuple[Write, ...]:
        """Return the writes that count the parameters of one pair, each once per change."""
        found: dict[tuple[Change, int], dict[str, Difference]] = {}
        for one in comparison.differences:
            if one.rule is None and one.parameters:
                change = Change(bounded_name(pair.route), bounded_name(one.pattern), one.kind.value, one.relations)
                for bit, text in one.parameters:
                    found.setdefault((change, bit), {})[text] = one
        if not found:
            return ()
        counted = [self._of(pair, run_id, change, bit, texts) for (change, bit), texts in found.items()]
        return (*counted, Expire(table_key(pair.target, run_id, "params"), LIFE_S))

    def _of(self, pair: Pair, run_id: int, change: Change, bit: int, texts: Mapping[str, Difference]) -> Incr:
        """Return the write of one change; several texts in one pair, as in an array, count as one other text."""
        name = (pair.target, run_id, change, bit)
        known = self._known.pop(name, None)
        if known is None:
            known = {}
            if len(self._known) >= _TRACKED:
                self._known.popitem(last=False)
        self._known[name] = known
        text = next(iter(texts)) if len(texts) == 1 else OTHER_PARAMETER
        if text not in known and len(known) - (OTHER_PARAMETER in known) >= PARAMETERS:
            text = OTHER_PARAMETER
        write = known.get(text)
        if write is None:
            safe = OTHER_PARAMETER
            if text != OTHER_PARAMETER:
                safe = self._safe_parameter(pair, texts[text], bit, text)[:_PARAMETER_CHARS]
            key = table_key(pair.target, run_id, "params")
            field = parameter_field(change.id, bit, safe)
            write = known[text] = Incr(key, field, 1, MOST_PARAMETERS)
        return write
