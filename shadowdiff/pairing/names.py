"""The names of pairing's keys, relative to the store's prefix and hash tag, and the scripts that use them."""

from __future__ import annotations

from typing import Final

from shadowdiff.model import Side
from shadowdiff.store import SHELF_LUA, Script

GROUP: Final = "workers"
PROCESSES: Final = "processes"
DICTIONARY: Final = "dictionary"
"""The key of the id of the dictionary that observations are encoded by."""
SIDE_LETTERS: Final = {Side.PRIMARY: b"p", Side.CANDIDATE: b"c", Side.CONTROL: b"x"}

_LUA = "shadowdiff.pairing.lua"
PARK = Script.from_package(_LUA, "state.lua", "park.lua")
DUE = Script.from_package(_LUA, "state.lua", "due.lua")
SWEEP = Script.from_package(_LUA, "state.lua", "sweep.lua")
COMMIT = Script.from_package(_LUA, "commit.lua", before=SHELF_LUA)
RECLAIM = Script.from_package(_LUA, "reclaim.lua")
KEEP = Script.from_package(_LUA, "keep.lua")
LEAVE = Script.from_package(_LUA, "leave.lua")
LEDGER = Script.from_package(_LUA, "ledger.lua")
FOLD = Script.from_package(_LUA, "fold.lua")
BOOKS = Script.from_package(_LUA, "books.lua")
GROUPS = Script.from_package(_LUA, "group.lua")


def ledger(target: str) -> str:
    """Return the key of a target's ledger counts."""
    return f"ledger:{target}"


def routes(target: str) -> str:
    """Return the name under which a target's losses by route stand in the books; no target can be called so."""
    return f"routes:{target}"


def ready(target: str) -> str:
    """Return the key of a target's stream of ready pairs."""
    return f"ready:{target}"


def deadlines(target: str) -> tuple[str, str, str]:
    """Return the keys of a target's sorted sets of deadlines: primary, candidate, control."""
    return (f"due:{target}:p", f"due:{target}:c", f"due:{target}:x")


def of_target(target: str) -> tuple[str, str, str, str, str]:
    """Return a target's keys in the order in which the scripts expect them."""
    return (ledger(target), ready(target), *deadlines(target))


def waiting(digest: bytes) -> bytes:
    """Return the key under which the observations of one request wait."""
    return b"o:" + digest


def dictionary(dictionary_id: bytes) -> str:
    """Return the key of a dictionary's content, in each shard that holds something encoded by it."""
    return f"{DICTIONARY}:{dictionary_id.hex()}"


def last_flush(process: str) -> str:
    """Return the key of the number of a process's last flush, in a shard."""
    return f"flush:{process}"


def last_entry(process: str) -> str:
    """Return the key of the number of a process's last entry in the books."""
    return f"entry:{process}"
