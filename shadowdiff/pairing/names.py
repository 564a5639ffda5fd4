"""The key names of pairing, relative to the store's prefix and hash tag, and the scripts that use these keys."""

from __future__ import annotations

from typing import Final

from shadowdiff.model import Side
from shadowdiff.store import BOTTOM_SAMPLE_LUA, SAMPLE_SET_LUA, Script

GROUP: Final = "workers"
PROCESSES: Final = "processes"
DICTIONARY: Final = "dictionary"
"""The key that holds the id of the current dictionary."""
SIDE_LETTERS: Final = {Side.PRIMARY: b"p", Side.CANDIDATE: b"c", Side.CONTROL: b"x"}

_LUA = "shadowdiff.pairing.lua"
STATE_LUA: Final = Script.from_package(_LUA, "state.lua").source
"""The shared part of the scripts that change the state of a key."""
PARK = Script.from_package(_LUA, "state.lua", "park.lua")
DUE = Script.from_package(_LUA, "state.lua", "due.lua")
SWEEP = Script.from_package(_LUA, "state.lua", "sweep.lua")
COMMIT = Script.from_package(_LUA, "commit.lua", before=SAMPLE_SET_LUA + b"\n" + BOTTOM_SAMPLE_LUA)
RECLAIM = Script.from_package(_LUA, "reclaim.lua")
KEEP_CLAIMS = Script.from_package(_LUA, "keep_claims.lua")
DEFER = Script.from_package(_LUA, "defer.lua")
READ_DEFERRED = Script.from_package(_LUA, "read_deferred.lua")
LEAVE = Script.from_package(_LUA, "leave.lua")
LEDGER = Script.from_package(_LUA, "ledger.lua")
FOLD_PROCESSES = Script.from_package(_LUA, "fold_processes.lua")
SYNC_LEDGER = Script.from_package(_LUA, "sync_ledger.lua")
CREATE_GROUP = Script.from_package(_LUA, "create_group.lua")


def ledger(target: str) -> str:
    """Return the key of a target's ledger counts."""
    return f"ledger:{target}"


def routes(target: str) -> str:
    """Return the target name for the ledger's losses by route. No configured target can have this name."""
    return f"routes:{target}"


def ready(target: str) -> str:
    """Return the key of a target's stream of ready pairs."""
    return f"ready:{target}"


def deadlines(target: str) -> tuple[str, str, str]:
    """Return the keys of a target's sorted sets of deadlines: primary, candidate, control."""
    return (f"due:{target}:p", f"due:{target}:c", f"due:{target}:x")


def of_target(target: str) -> tuple[str, str, str, str, str]:
    """Return a target's keys in the order that the scripts expect."""
    return (ledger(target), ready(target), *deadlines(target))


def dictionary(dictionary_id: bytes) -> str:
    """Return the key of a dictionary's content, in each shard that holds values encoded with it."""
    return f"{DICTIONARY}:{dictionary_id.hex()}"
