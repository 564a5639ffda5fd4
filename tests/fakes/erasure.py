"""Stored data that only records what is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shadowdiff.erasure.matcher import Matcher


class RecordedErasure:
    """Finds one item of each kind in each target, and records kind, target and whether it was a dry run."""

    def __init__(self) -> None:
        self.erased: list[tuple[str, str, bool]] = []

    def __getattr__(self, kind: str) -> Any:
        async def erase(target: str = "", matcher: Matcher | None = None, *, dry_run: bool = False) -> int:
            if matcher is not None:
                self.erased.append((kind, target, dry_run))
            return 1

        return erase
