"""Read the tables of one run: pairs by set of changes, by change, by change alone and by parameter.

The tables of all shards are summed. Counts beyond a table's limit are `_other`. Parameters are read last, so a
parameter that all pairs share has at least the count of its change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.model import OTHER
from shadowdiff.model.store_reader import Top, Whole
from shadowdiff.report.cause_writes import (
    MOST_CHANGES,
    MOST_SETS,
    OTHER_PARAMETER,
    PARTS,
    history_key,
    parameter_of,
    table_key,
)
from shadowdiff.report.change import Change
from shadowdiff.store import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.model.store_reader import StoreReader


class ChangeHistory(msgspec.Struct, frozen=True):
    """What outlives runs. first_ms, worst, revision: by the id of a change; last_ms: by the id of a set.

    worst: the rank of the highest severity.  revision: v2's revision when the change was first seen; may be empty.
    """

    first_ms: Mapping[str, int] = {}
    worst: Mapping[str, int] = {}
    revision: Mapping[str, str] = {}
    last_ms: Mapping[str, int] = {}


class CauseTables(msgspec.Struct, frozen=True):
    """The tables of one run, or the sums of several.

    sets: pairs by the field of their set.  changes, counts: each change and its pairs, by id.  alone: pairs by the id
    of their only change.  params: pairs by parameter, by change id and relation.
    other_sets, other_changes, other_alone: counts beyond the limits.
    """

    sets: Mapping[str, int]
    changes: Mapping[str, Change]
    counts: Mapping[str, int]
    alone: Mapping[str, int]
    params: Mapping[tuple[str, int], Mapping[str, int]]
    other_sets: int = 0
    other_changes: int = 0
    other_alone: int = 0
    target: str = ""
    history: ChangeHistory = ChangeHistory()

    @property
    def pairs(self) -> int:
        """The number of mismatches."""
        return sum(self.sets.values()) + self.other_sets

    def constant(self, change: str, bit: int) -> str | None:
        """Return the parameter that a relation has in all pairs of a change, or None."""
        known = self.params.get((change, bit), {})
        if len(known) != 1:
            return None
        ((text, count),) = known.items()
        return text if text != OTHER_PARAMETER and count >= self.counts[change] else None


async def read_tables(
    reader: StoreReader, target: str, run_ids: Sequence[int], fold: Callable[[str], str] = str
) -> CauseTables:
    """Return the sums of these runs' tables. fold: returns a route's current name.

    Raises: redis.exceptions.RedisError, UnreadableError.
    """
    found = await reader.counts_of([table_key(target, run_id, part) for part in PARTS for run_id in run_ids])
    sets, changes, alone, params = (
        _summed(found[at * len(run_ids) : (at + 1) * len(run_ids)]) for at in range(len(PARTS))
    )
    history = await _read_history(reader, target)
    with reading(f"the causes of {target}"):
        return tables_of(sets, changes, alone, params, target=target, fold=fold, history=history)


def tables_of(
    sets: Mapping[str, int],
    changes: Mapping[str, int],
    alone: Mapping[str, int],
    params: Mapping[str, int],
    *,
    target: str = "",
    fold: Callable[[str], str] = str,
    history: ChangeHistory | None = None,
) -> CauseTables:
    """Return the tables of stored hashes. A change whose route was renamed keeps its id."""
    described: dict[str, Change] = {}
    counts: dict[str, int] = {}
    for field, count in changes.items():
        if field != OTHER:
            change = msgspec.json.decode(field, type=Change)
            described[change.id] = msgspec.structs.replace(change, route=fold(change.route))
            counts[change.id] = count
    by_change: dict[tuple[str, int], dict[str, int]] = {}
    for field, count in params.items():
        if field != OTHER:
            name, bit, text = parameter_of(field)
            by_change.setdefault((name, bit), {})[text] = count
    return CauseTables(
        {field: count for field, count in sets.items() if field != OTHER},
        described,
        counts,
        {name: count for name, count in alone.items() if name != OTHER},
        by_change,
        sets.get(OTHER, 0),
        changes.get(OTHER, 0),
        alone.get(OTHER, 0),
        target,
        history or ChangeHistory(),
    )


def _summed(hashes: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    if len(hashes) == 1:
        return hashes[0]
    total: Counter[str] = Counter()
    for counts in hashes:
        total.update(counts)
    return total


async def _read_history(reader: StoreReader, target: str) -> ChangeHistory:
    shards = await reader.read([
        Top(history_key(target, "first"), MOST_CHANGES),
        Top(history_key(target, "worst"), MOST_CHANGES),
        Top(history_key(target, "last"), MOST_SETS),
        Whole(history_key(target, "revision")),
    ])  # fmt: skip
    first: dict[str, int] = {}
    worst: dict[str, int] = {}
    last: dict[str, int] = {}
    revisions: dict[str, tuple[int, str]] = {}
    for firsts, worsts, lasts, named in shards:
        for name, at_ms in firsts:
            first[name] = min(int(at_ms), first.get(name, int(at_ms)))
            if (revision := named.get(name)) is not None:
                found = (int(at_ms), revision.decode("utf-8", "replace"))
                revisions[name] = min(found, revisions.get(name, found))
        for into, scores in ((worst, worsts), (last, lasts)):
            for name, score in scores:
                into[name] = max(int(score), into.get(name, 0))
    return ChangeHistory(first, worst, {name: text for name, (_, text) in revisions.items()}, last)
