"""docs/recording.md: its commands are run as they stand there, against the real ports, and its tables are whole."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import msgspec

from shadowdiff.intake import record_form, records
from shadowdiff.intake.books import RecordRow
from shadowdiff.model import Side
from tests.integration.intake.scripted import intake, target

DOCUMENT = (Path(__file__).parents[3] / "docs/recording.md").read_text(encoding="utf-8")
ONE, COPY, MANY = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


async def run(command: str, records_port: int, mirror_port: int) -> str:
    """Run a command of the document, with the ports and the host of the test, and return what it printed."""
    told = command.replace("8081", str(records_port)).replace("8080", str(mirror_port))
    told = told.replace("host: shop", "host: svc").replace('"host":"shop"', '"host":"svc"')
    ran = await asyncio.create_subprocess_exec("bash", "-euc", told, stdout=-1, stderr=-1)
    async with asyncio.timeout(20):
        out, error = await ran.communicate()
    assert (0, b"") == (ran.returncode, error), told
    return out.decode()


async def test_the_answer_that_the_page_posts_is_taken_with_all_its_facts() -> None:
    """The curl line works as it stands, and each of its headers arrives."""
    async with intake(target(1)) as running:
        said = await run(ONE, running.records_port, running.mirror_port)
        assert said.startswith("HTTP/1.1 202 ")
        (seen,) = running.store.seen
        assert ("7a31", "x-diff-id", "GET", "/products/7?full=1", 200, 12.5) == (
            seen.id, seen.id_source, seen.method, seen.path, seen.status, seen.duration_ms,
        )  # fmt: skip
        assert ((b"content-type", b"application/json"), (b"etag", b'"7"')) == seen.headers
        assert b'{"id":7,"price":10}' == seen.body


async def test_the_copy_that_the_page_mirrors_has_the_same_key() -> None:
    """Whoever tries both by hand gets one pair."""
    async with intake(target(1)) as running:
        await run(ONE, running.records_port, running.mirror_port)
        await run(COPY, running.records_port, running.mirror_port)
        await running.settled()
        (ours,), (theirs,) = running.store.of(Side.PRIMARY), running.store.of(Side.CANDIDATE)
        assert (ours.id, ours.id_source, ours.path) == (theirs.id, theirs.id_source, theirs.path)


async def test_the_batch_of_the_page_is_answered_as_the_page_says() -> None:
    """One line taken, one refused, and the refusal in the very words."""
    (shown,) = re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    async with intake(target(1)) as running:
        said = await run(MANY, running.records_port, running.mirror_port)
        assert json.loads(shown) == json.loads(said)
        assert b'{"id":8}' == running.store.seen[0].body
        assert RecordRow(received=2, accepted=1, refused=1) == running.books.records("svc")


def test_the_page_names_every_header_and_field() -> None:
    """Nothing is read that the table does not hold, and it holds nothing that is not read."""
    rows = re.findall(r"^\| `x-shadowdiff-([a-z-]+?)(?:-NAME)?` \| `([a-z_]+)` \|", DOCUMENT, re.MULTILINE)
    read = {name.removeprefix(record_form.PREFIX).decode() for name in record_form._FIELDS}  # pyright: ignore[reportPrivateUsage]
    assert read | {"h", "q", "trailer"} == {header for header, _ in rows}
    fields = {field.name for field in msgspec.structs.fields(record_form.Line)}
    assert fields == {field for _, field in rows} | {"body_base64"}


def test_the_page_marks_what_must_be_there() -> None:
    """`yes` stands where leaving it out is refused, and nowhere else."""
    marked = re.findall(r"^\| `x-shadowdiff-([a-z-]+)` \| `[a-z_]+` \| yes \|", DOCUMENT, re.MULTILINE)
    assert [name.decode() for name in record_form._REQUIRED] == marked  # pyright: ignore[reportPrivateUsage]


def test_the_page_names_the_bounds() -> None:
    """The bounds of the table are those of the code."""
    for size, shown in (
        (records.MAX_RECORD_BYTES, "the body of one answer"),
        (records.MAX_BATCH_BYTES, "one batch"),
        (records.MAX_READING_BYTES, "bodies that are still arriving, over all connections"),
    ):
        assert f"| {shown} | {size >> 20} MiB" in DOCUMENT
    assert f"| an id | {record_form.MAX_ID_CHARS} characters |" in DOCUMENT
