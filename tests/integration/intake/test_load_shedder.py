"""Test both ports of an overloaded service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.intake.counters import MirrorCounts, RecordCounts
from shadowdiff.intake.overload import accepted_share, position_of
from shadowdiff.model import Side
from tests.integration.intake.scripted import get, intake, target, v2
from tests.integration.intake.test_records import FIELDS

if TYPE_CHECKING:
    import asyncio


async def _answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def test_both_halves_of_the_same_requests_are_accepted() -> None:
    """Both ports shed the same requests, with the reason."""
    ids = [f"7-{number}" for number in range(40)]
    fill = 0.7
    expected = {one for one in ids if position_of(one) < accepted_share(fill)}
    async with v2(_answering) as port, intake(target(port, queue=100), fill=fill) as running:
        for one in ids:
            status, _ = await running.record({**FIELDS, "x-shadowdiff-id": one})
            assert (202 if one in expected else 503) == status
        await running.mirrored(*[get().replace(b"x-diff-id: 7", f"x-diff-id: {one}".encode()) for one in ids])
        taken = {side: {seen.id for seen in running.store.seen if seen.side is side} for side in Side}
        assert (expected, expected) == (taken[Side.PRIMARY], taken[Side.CANDIDATE])
        many, shed = len(expected), len(ids) - len(expected)
        assert RecordCounts(received=40, accepted=many, shed=shed) == running.counters.records("svc")
        assert MirrorCounts(received=40, forwarded=many, shed=shed) == running.counters.mirrored["svc"]
        assert {("svc", "overload"): 2 * shed} == running.counters.shed_reasons
