"""The commands of docs/recording.md run unchanged against the real ports, and its tables are complete."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import msgspec

from shadowdiff.intake import record_parser, records_port
from shadowdiff.intake.counters import RecordCounts
from shadowdiff.model import Side
from tests.integration.intake.scripted import intake, target

DOCUMENT = (Path(__file__).parents[3] / "docs/recording.md").read_text(encoding="utf-8")
ONE, COPY, MANY = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


async def run(command: str, records_port: int, mirror_port: int) -> str:
    """Run a command of the page with the ports and the host of the test, and return its output."""
    script = command.replace("8081", str(records_port)).replace("8080", str(mirror_port))
    script = script.replace("host: shop", "host: svc").replace('"host":"shop"', '"host":"svc"')
    ran = await asyncio.create_subprocess_exec("bash", "-euc", script, stdout=-1, stderr=-1)
    async with asyncio.timeout(60):
        out, error = await ran.communicate()
    assert (0, b"") == (ran.returncode, error), script
    return out.decode()


async def test_the_posted_response_is_accepted_with_all_fields() -> None:
    """The curl line works unchanged, and each of its headers arrives."""
    async with intake(target(1)) as running:
        said = await run(ONE, running.records_port, running.mirror_port)
        assert said.startswith("HTTP/1.1 202 ")
        (seen,) = running.store.seen
        assert ("7a31", "x-diff-id", "GET", "/products/7?full=1", 200, 12.5) == (
            seen.id, seen.id_source, seen.method, seen.path, seen.status, seen.duration_ms,
        )  # fmt: skip
        assert ((b"content-type", b"application/json"), (b"etag", b'"7"')) == seen.headers
        assert b'{"id":7,"price":10}' == seen.body


async def test_the_mirrored_copy_has_the_same_key() -> None:
    """A user who runs both commands gets one pair."""
    async with intake(target(1)) as running:
        await run(ONE, running.records_port, running.mirror_port)
        await run(COPY, running.records_port, running.mirror_port)
        await running.settled()
        (ours,), (theirs,) = running.store.of(Side.PRIMARY), running.store.of(Side.CANDIDATE)
        assert (ours.id, ours.id_source, ours.path) == (theirs.id, theirs.id_source, theirs.path)


async def test_the_batch_of_the_page_gets_the_documented_reply() -> None:
    """One line is accepted, and one is rejected with the documented text."""
    (shown,) = re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    async with intake(target(1)) as running:
        said = await run(MANY, running.records_port, running.mirror_port)
        assert json.loads(shown) == json.loads(said)
        assert b'{"id":8}' == running.store.seen[0].body
        assert RecordCounts(received=2, accepted=1, refused=1) == running.counters.records("svc")


def test_the_page_names_every_header_and_field() -> None:
    """The table has exactly the headers and fields that the port reads."""
    rows = re.findall(r"^\| `x-shadowdiff-([a-z-]+?)(?:-NAME)?` \| `([a-z_]+)` \|", DOCUMENT, re.MULTILINE)
    read = {name.removeprefix(record_parser.PREFIX).decode() for name in record_parser._FIELDS}  # pyright: ignore[reportPrivateUsage]
    assert read | {"h", "q", "trailer"} == {header for header, _ in rows}
    fields = {field.name for field in msgspec.structs.fields(record_parser.RecordLine)}
    assert fields == {field for _, field in rows} | {"body_base64"}


def test_the_page_marks_required_fields() -> None:
    """The table has `yes` exactly for fields without which a record is rejected."""
    marked = re.findall(r"^\| `x-shadowdiff-([a-z-]+)` \| `[a-z_]+` \| yes \|", DOCUMENT, re.MULTILINE)
    assert [name.replace("_", "-") for name in record_parser._REQUIRED] == marked  # pyright: ignore[reportPrivateUsage]


def test_the_page_names_the_limits() -> None:
    """The limits in the table are those of the code."""
    for size, shown in (
        (records_port.RecordsApp.max_record_bytes, "the body of one response"),
        (records_port.RecordsApp.max_batch_bytes, "one batch"),
        (records_port.RecordsApp.max_reading_bytes, "bodies that are still arriving, on all connections together"),
    ):
        assert f"| {shown} | {size >> 20} MiB" in DOCUMENT
    assert f"| an id | {record_parser.MAX_ID_CHARS} characters |" in DOCUMENT
