"""Commit judged pairs: acknowledge each once, and apply its writes only then.

In: claims with the writes that the stages returned. Out: for each, whether this call was the one.
Writes shared by many pairs of a batch travel once and are applied with their count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

from shadowdiff.model import Describe, Expire, Incr, Keep, Push, Put, Result, Score, Write
from shadowdiff.model.write import SHELF
from shadowdiff.pairing import names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.pairing.claim import Claim
    from shadowdiff.store import Store


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim, and everything to be stored with its result."""

    claim: Claim
    writes: tuple[Write, ...]


def ledger_write(target: str, result: Result) -> Incr:
    """Return the write that books one pair's result."""
    return Incr(names.ledger(target), f"pairs.{result}")


_SCORED: Final = {"greatest": b"m", "first": b"n", "add": b"a"}


def _operands(write: Write, place_of: Callable[[str], int]) -> tuple[bytes | str | int, ...]:
    """Return a write as the script takes it."""
    operands: tuple[bytes | str | int, ...]
    match write:
        case Incr(key, field, by, cap):
            operands = b"i", place_of(key), field, by, cap
        case Push(key, value, keep):
            operands = b"l", place_of(key), value, keep
        case Put(key, value, ttl_s):
            operands = b"s", place_of(key), value, ttl_s
        case Expire(key, ttl_s):
            operands = b"e", place_of(key), ttl_s
        case Score(key, member, score, how, cap):
            operands = _SCORED[how], place_of(key), member, score, cap
        case Describe(key, field, value, cap):
            operands = b"d", place_of(key), field, value, cap
        case Keep():
            places = (place_of(f"{write.key}:{part}") for part in SHELF)
            bounds = (write.of_group, write.of_all, write.bytes_of_all, write.ttl_s)
            operands = b"k", *places, write.member, write.line, write.value, write.at_ms, *bounds
        case _:
            assert_never(write)
    return operands


async def commit(store: Store, shard: int, batch: Sequence[Judged]) -> list[bool]:
    """Commit `batch`, all of one shard; return for each entry whether this call acknowledged it.

    Raises: redis.exceptions.RedisError. Safe to call again: what is acknowledged answers False.
    """
    keys: dict[str, int] = {}
    writes: dict[Write, int] = {}
    write_args: list[bytes | str | int] = []
    entry_args: list[bytes | str | int] = []

    def place_of(key: str) -> int:
        return keys.setdefault(key, len(keys) + 1)

    for judged in batch:
        indexes: list[str] = []
        for write in judged.writes:
            place = writes.get(write)
            if place is None:
                place = writes[write] = len(writes) + 1
                write_args += _operands(write, place_of)
            indexes.append(str(place))
        stream = place_of(names.ready(judged.claim.target))
        entry_args += (stream, judged.claim.entry, " ".join(indexes))
    args = [names.GROUP, len(writes), len(batch), *entry_args, *write_args]
    answer: Any = await store.run(names.COMMIT, shard, list(keys), args)
    return [mine == 1 for mine in answer]
