"""Compare two responses in one line, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.responses import judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model import Comparison

Lines = tuple[str, ...]


def compared(
    bodies: tuple[str, str],
    *rules: object,
    kind: str = "application/json",
    headers: tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]] = ((), ()),
) -> Comparison:
    """Compare two responses with status 200."""
    fields = [
        tuple((name.encode(), value.encode("latin-1")) for name, value in [("content-type", kind), *more])
        for more in headers
    ]
    one, other = (body.encode("utf-8", "surrogatepass") for body in bodies)
    return judged(one, other, *rules, headers=fields[0], headers_other=fields[1])


def counted(comparison: Comparison) -> list[tuple[str, str | None, str | None]]:
    """Return the path and values of each difference that no rule covers."""
    return [(found.path, found.primary, found.candidate) for found in comparison.differences if found.rule is None]


def mask(path: str, pattern: str, **more: Any) -> dict[str, Any]:
    """Return the declaration of a mask."""
    return {"mask": {"path": path, "pattern": pattern, **more}}
