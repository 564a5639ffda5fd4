"""Epochs in Redis: looked at, opened and named in one script each, so that all processes agree.

In: a target's name and what was seen of it.  Out: `Seen` and `Epoch` values.
Holds: of two processes that would open an epoch at once, one does and the other takes what is there; times are
Redis's own. All keys of epochs lie in the first shard; the counts of an epoch lie where their pairs do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.store import Script, number, reading
from shadowdiff.verdict.epoch import Epoch, OpenedBy, Opening, Seen
from shadowdiff.verdict.openings import openings_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.store import Store

LIFE_S: Final = 35 * 86_400
"""How long the counts of an epoch outlive its last pair."""
REMEMBERED: Final = 200
"""Revisions and sessions remembered per target, the newest."""

_LUA = "shadowdiff.verdict.lua"
_LOOK = Script.from_package(_LUA, "look.lua")
_OPEN = Script.from_package(_LUA, "open.lua")
_ADOPT = Script.from_package(_LUA, "adopt.lua")
_ASK = Script.from_package(_LUA, "ask.lua")


def counts_key(target: str, epoch_id: int, group: str) -> str:
    """Return the key of one group of an epoch's counts: a result, `paths`, `aside` or `routes`."""
    return f"epoch:{target}:{epoch_id}:{group}"


def _keys(target: str) -> tuple[str, str, str]:
    return (f"epoch:{target}", f"revisions:{target}", f"sessions:{target}")


class EpochStore:
    """The epochs of all targets."""

    def __init__(self, store: Store, most_routes: int) -> None:
        self._store = store
        self._most_routes = most_routes

    async def look(
        self, target: str, epoch_id: int = 0, revisions: Sequence[str] = (), routes: Sequence[str] = ()
    ) -> Seen:
        """Return what is known, and note the revisions and the epoch's routes that were seen since.

        Raises: redis.exceptions.RedisError.
        """
        keys = [*_keys(target), counts_key(target, epoch_id, "routes")]
        args = [epoch_id, LIFE_S, self._most_routes, len(revisions), *revisions, *routes]
        answer: Any = await self._store.run(_LOOK, 0, keys, args)
        with reading(f"the epoch of {target}"):
            return Seen(
                now_ms=int(answer[0]), epoch=_epoch(answer[1]), revisions=_times(answer[2]), sessions=_times(answer[3])
            )

    async def open(self, target: str, seen: Seen, opening: Opening, rules: str, ledger: Mapping[str, int]) -> Epoch:
        """Open an epoch where none opened since `seen`; return the one that is open then.

        Raises: redis.exceptions.RedisError.
        """
        known = seen.epoch
        keeps = known is not None and opening.by not in {OpenedBy.START, OpenedBy.RULES}
        args: list[bytes | str | int] = [
            str(known.id) if known else "",
            opening.by,
            opening.revision or "",
            known.rules if known and keeps else rules,
            opening.noise or "",
            opening.session or "",
            json.dumps(ledger, separators=(",", ":")),
            REMEMBERED,
        ]
        answer: Any = await self._store.run(_OPEN, 0, [*_keys(target), openings_key(target)], args)
        with reading(f"the epoch of {target}"):
            opened = _epoch(answer[1])
        return _known(opened)

    async def adopt(self, target: str, epoch: Epoch, revision: str) -> Epoch:
        """Name the revision of an epoch that does not know it yet; raises redis.exceptions.RedisError."""
        answer: Any = await self._store.run(_ADOPT, 0, _keys(target)[:2], [str(epoch.id), revision, REMEMBERED])
        with reading(f"the epoch of {target}"):
            named = _epoch(answer)
        return _known(named)

    async def note_question(self, target: str, session: str) -> None:
        """Note that a session that is known asked; raises redis.exceptions.RedisError."""
        await self._store.run(_ASK, 0, _keys(target)[2:], [session])


def _known(epoch: Epoch | None) -> Epoch:
    if epoch is None:
        raise RuntimeError("the store lost an epoch as it opened: is it evicting keys?")
    return epoch


def _epoch(flat: list[bytes]) -> Epoch | None:
    fields = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
    if not fields:
        return None
    return Epoch(
        id=number(fields["id"]),
        started_ms=number(fields["started_ms"]),
        by=OpenedBy(fields["by"]),
        revision=fields["revision"] or None,
        rules=fields["rules"],
        noise=fields["noise"] or None,
        session=fields["session"] or None,
        ledger=msgspec.json.decode(fields["ledger"], type=dict[str, int]),
    )


def _times(flat: list[bytes]) -> dict[str, int]:
    return {name.decode(): number(float(at)) for name, at in zip(flat[::2], flat[1::2], strict=True)}
