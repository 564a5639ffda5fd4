"""The ledger, doctor and audit log pages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shadowdiff.model import UNKNOWN_TARGET
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.visible import is_visible
from shadowdiff.web.audit import SHOWN
from shadowdiff.web.layout import refresh_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.layout import Layout


async def show_doctor(layout: Layout, request: Request) -> Response:
    """Return the page that shows why a target is not compared; without a name, for all targets."""
    target = request.query_params.get("target") or None
    found = await layout.queries.diagnose(target)
    return await layout.html("doctor.html", diagnosis=found, target=target, live=refresh_s(request))


async def show_audit(layout: Layout, _request: Request) -> Response:
    """Return the page of the newest audited changes."""
    audit = layout.web.audit
    return await layout.html("audit.html", entries=await audit.newest(SHOWN) if audit else [])


async def show_ledger(layout: Layout, request: Request) -> Response:
    """Return a page with one target's ledger, or with a list that shows whether each ledger is balanced."""
    name = request.query_params.get("target")
    names = [*layout.queries.names, *([UNKNOWN_TARGET] if is_visible(UNKNOWN_TARGET) else ())]
    if name and name not in names:
        raise RequestError(404, f"Unknown target {name!r}.")
    chosen = name or (names[0] if len(layout.queries.names) == 1 else None)
    ledgers = await asyncio.gather(*(layout.queries.ledger(one) for one in ([chosen] if chosen else names)))
    return await layout.html(
        "ledger.html",
        names=names,
        chosen=chosen,
        unknown=UNKNOWN_TARGET,
        ledgers=ledgers,
        sections=_sections(ledgers[0]) if chosen else [],
        live=refresh_s(request),
    )


def _sections(ledger: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sections of a ledger; omit sections without counts."""
    observations: dict[str, Mapping[str, int]] = ledger.get("observations", {})
    sections = [
        _section("mirrored", "received", ledger.get("mirrored", {})),
        _section("recorded", "received", ledger.get("recorded", {})),
        *(_section(f"observations of {side}", "parked", counts) for side, counts in observations.items()),
        _section("pairs", "ready", ledger.get("pairs", {})),
    ]
    return [one for one in sections if one["total"] or any(number for _, number in one["parts"])]


def _section(name: str, total_name: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return the total and the counts that should add up to it. `missing` is the total minus their sum."""
    parts = [(part, number) for part, number in numbers.items() if part != total_name]
    total = numbers.get(total_name, 0)
    missing = total - sum(number for _, number in parts)
    return {"name": name, "total_name": total_name, "total": total, "parts": parts, "missing": missing}
