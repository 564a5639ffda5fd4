"""Reads as data, run by one script call a shard.

In: `model.reader.Read` values.  Out: the keys and arguments of that call, and its answer as the reads promise it.
Holds: only commands that read; whatever is asked of one shard costs one round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from shadowdiff.model.reader import Between, Card, Fields, Read, Scores, Top, Whole
from shadowdiff.store.scripts import Script
from shadowdiff.store.unreadable import number

if TYPE_CHECKING:
    from collections.abc import Sequence

READS: Final = Script(
    "reads.lua",
    b"""
local found, at = {}, 0
for r = 1, #KEYS do
  local command, n = ARGV[at + 1], tonumber(ARGV[at + 2])
  local answer = {}
  -- unpack() takes some thousands of values at most, so long lists of names go in parts
  for first = 1, math.max(n, 1), 1000 do
    local part = redis.call(command, KEYS[r], unpack(ARGV, at + 2 + first, at + 2 + math.min(first + 999, n)))
    if n <= 1000 then
      answer = part
    else
      for i = 1, #part do answer[#answer + 1] = part[i] end
    end
  end
  found[r], at = answer, at + 2 + n
end
return found
""",
)


def operands(reads: Sequence[Read]) -> tuple[list[str], list[str | int]]:
    """Return the keys and the arguments of the script; who asks for no name at all is not asked about."""
    args: list[str | int] = []
    asked = [read for read in reads if not _is_empty(read)]
    for read in asked:
        command, words = _command(read)
        args += (command, len(words), *words)
    return [read.key for read in asked], args


def _command(read: Read) -> tuple[str, Sequence[str | int]]:
    match read:
        case Top(_, n, least, most):
            low, high = "-inf" if least is None else least, "+inf" if most is None else most
            return "ZREVRANGEBYSCORE", (high, low, "WITHSCORES", "LIMIT", 0, n)
        case Scores(_, members):
            return "ZMSCORE", members
        case Card():
            return "ZCARD", ()
        case Fields(_, names):
            return "HMGET", names
        case Whole():
            return "HGETALL", ()
        case Between(_, prefix, n):
            return "ZRANGEBYLEX", (f"[{prefix}", f"({prefix}\U0010ffff", "LIMIT", 0, n)
        case _:
            assert_never(read)


def answers(reads: Sequence[Read], found: Sequence[Any]) -> list[Any]:
    """Return one shard's answers in the types that the reads promise."""
    told = iter(found)
    return [[] if _is_empty(read) else _answer(read, next(told)) for read in reads]


def _is_empty(read: Read) -> bool:
    return (isinstance(read, Scores) and not read.members) or (isinstance(read, Fields) and not read.names)


def _score(score: bytes) -> float:
    found = float(score)
    number(found)
    return found


def _answer(read: Read, found: Any) -> Any:
    match read:
        case Top():
            return [(name.decode(), _score(score)) for name, score in zip(found[::2], found[1::2], strict=True)]
        case Scores():
            return [None if score is None else _score(score) for score in found]
        case Whole():
            return {name.decode(): value for name, value in zip(found[::2], found[1::2], strict=True)}
        case Between():
            return [member.decode() for member in found]
        case Card() | Fields():
            return found
        case _:
            assert_never(read)
