"""Say what to do next when a target has nothing to show, or its books do not balance.

In: a target's report and its ledger.  Out: one piece of advice, or none when all is well.
Holds: pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shadowdiff.web.views import TargetReport


@dataclass(frozen=True, slots=True)
class Advice:
    """What is the matter, what to do, and lines to copy."""

    matter: str
    do: str
    lines: tuple[str, ...] = ()


def advice(report: TargetReport, ledger: dict[str, Any]) -> Advice | None:
    """Return what keeps a target from being compared."""
    if sum(report.verdict.pairs.get(result, 0) for result in ("match", "ignored", "mismatch", "incomparable")):
        return None if ledger.get("balanced", True) else _UNBALANCED
    mirrored, recorded = _received(ledger, "mirrored"), _received(ledger, "recorded")
    host = report.configured.hosts[0] if report.configured.hosts else report.name
    if not mirrored and not recorded:
        return Advice(
            "No request has arrived yet.",
            "Mirror this target's requests to port 8080, and record v1's answers at port 8081. By hand it goes so:",
            (
                f"curl -H 'Host: {host}' -H 'x-request-id: try-1' http://127.0.0.1:8080/",
                "curl -X POST http://127.0.0.1:8081/record -d hello -H 'x-shadowdiff-id: try-1' \\",
                f"  -H 'x-shadowdiff-host: {host}' -H 'x-shadowdiff-method: GET' -H 'x-shadowdiff-path: /' \\",
                "  -H 'x-shadowdiff-id-source: x-request-id' -H 'x-shadowdiff-status: 200'",
            ),
        )
    if not recorded:
        return Advice(
            f"{mirrored:,} requests were mirrored, but none of v1's answers was recorded.",
            "Put the recorder into v1's proxy, or the middleware into v1, so that it posts to port 8081 /record.",
        )
    if not mirrored:
        return Advice(
            f"{recorded:,} of v1's answers were recorded, but no request was mirrored.",
            f"Let the mesh mirror the requests for {host} to port 8080, with the Host they came with.",
        )
    return Advice(
        f"{mirrored:,} requests were mirrored and {recorded:,} answers recorded, but none has paired yet.",
        "Pairs follow within seconds. If none does, ask why:",
        ("shadowdiff doctor",),
    )


_UNBALANCED = Advice(
    "The books do not balance: some observations left the store without being counted.",
    "Take the numbers below as incomplete. Usual causes are a store that evicts keys "
    "(set maxmemory-policy noeviction) and keys deleted by hand. The ledger says which side is short.",
)


def _received(ledger: dict[str, Any], row: str) -> int:
    return int(ledger.get(row, {}).get("received", 0))
