"""Commit judged pairs: acknowledge each once, and apply its writes only then.

In: claims with the writes that the stages returned. Out: for each, whether this call was the one.
Writes shared by many pairs of a batch travel once and are applied with their count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

from shadowdiff.model import Describe, Expire, Incr, Push, Put, Result, Score, Write
from shadowdiff.pairing import names

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def _operands(write: Write) -> tuple[bytes, str, bytes | str | int, bytes | int, int]:
    match write:
        case Incr(key, field, by, cap):
            return b"i", key, field, by, cap
        case Push(key, value, keep):
            return b"l", key, value, keep, 0
        case Put(key, value, ttl_s):
            return b"s", key, value, ttl_s, 0
        case Expire(key, ttl_s):
            return b"e", key, ttl_s, 0, 0
        case Score(key, member, score, how, cap):
            return _SCORED[how], key, member, score, cap
        case Describe(key, field, value, cap):
            return b"d", key, field, value, cap
        case _:
            assert_never(write)


async def commit(store: Store, shard: int, batch: Sequence[Judged]) -> list[bool]:
    """Commit `batch`, all of one shard; return for each entry whether this call acknowledged it.

    Raises: redis.exceptions.RedisError. Safe to call again: what is acknowledged answers False.
    """
    keys: dict[str, int] = {}
    writes: dict[Write, int] = {}
    write_args: list[bytes | str | int] = []
    entry_args: list[bytes | str | int] = []
    for judged in batch:
        indexes: list[str] = []
        for write in judged.writes:
            place = writes.get(write)
            if place is None:
                place = writes[write] = len(writes) + 1
                op, key, *operands = _operands(write)
                write_args += (op, keys.setdefault(key, len(keys) + 1), *operands)
            indexes.append(str(place))
        stream = keys.setdefault(names.ready(judged.claim.target), len(keys) + 1)
        entry_args += (stream, judged.claim.entry, " ".join(indexes))
    args = [names.GROUP, len(writes), len(batch), *write_args, *entry_args]
    answer: Any = await store.run(names.COMMIT, shard, list(keys), args)
    return [mine == 1 for mine in answer]
