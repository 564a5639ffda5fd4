"""The `recommendation` service of the demo, as v1 and as v2, in a process of its own.

In: `python -m shadowdiff.demo.shop --version v1 --port 9001 [--journal FILE] [--noisy]`.  Out: HTTP on this machine.
Holds: v1 and v2 mean the same, apart from the faults planted in v2 and what differs between any two instances:
pod, counter, clock, the order of keys; with `--noisy` each answer has an id and an order of tags of its own as well.
Each writes what it answered, and how it spoiled it, into its own journal.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson
import uvicorn

from shadowdiff.demo.fault import Fault, faults_of
from shadowdiff.demo.port import HOST

if TYPE_CHECKING:
    import io
    from collections.abc import Awaitable, Callable, Mapping

PRODUCTS = 200
CATEGORIES = ("books", "garden", "games", "kitchen", "music", "office", "outdoor", "pets", "sport", "tools")
SLOW_S = {"v1": 0.01, "v2": 0.06}
REVIEW = "Does what it should, and arrived on time."
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


class Entry(msgspec.Struct, frozen=True):
    """One answer, as the service that gave it wrote it down."""

    id: str
    method: str
    path: str
    status: int
    faults: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What goes back to the caller, and how it was spoiled."""

    status: int
    kind: bytes
    body: bytes
    faults: tuple[Fault, ...] = ()


def product_of(number: int) -> dict[str, Any]:
    """Return a product of 1 to 2 KB; the same number is the same product everywhere."""
    category = CATEGORIES[number % len(CATEGORIES)]
    cents = 499 + number * 137 % 20_000
    return {
        "id": number,
        "sku": f"SD-{number:05d}",
        "name": f"{category.title()} piece {number}",
        "category": category,
        "description": "Chosen by those who bought what you look at. " * (4 + number % 8),
        "price": {"amount": cents / 100, "currency": "EUR", "vat": {"rate": 19, "included": True}},
        "stock": {"count": number * 7 % 120, "warehouses": [{"city": city, "shelf": number % 40} for city in "ABC"]},
        "shipping": {"days": 1 + number % 5, "express": number % 2 == 0, "cost": {"amount": 4.9, "currency": "EUR"}},
        "tags": [category, f"row-{number % 9}", "recommended"],
        "reviews": [
            {"author": f"user-{number * 3 + one}", "stars": 1 + (number + one) % 5, "text": REVIEW} for one in range(4)
        ],
        "related": [(number + step) % PRODUCTS for step in (1, 7, 31, 64)],
        "meta": {"schema": 4, "generatedAt": ""},
    }


def spoil(product: dict[str, Any], faults: tuple[Fault, ...]) -> None:
    """Plant faults in a product."""
    if Fault.WRONG_PRICE in faults:
        product["price"]["amount"] = round(product["price"]["amount"] + 1, 2)
    if Fault.MISSING_FIELD in faults:
        del product["shipping"]
    if Fault.INTEGER_AS_STRING in faults:
        product["stock"]["count"] = str(product["stock"]["count"])


class Shop:
    """One instance of the service: an ASGI application."""

    def __init__(self, version: str, journal: io.TextIOBase | None, *, noisy: bool = False) -> None:
        self.version = version
        self._noisy = noisy
        self.pod = secrets.token_hex(3)
        self.answered = 0
        self._journal = journal
        self._options = orjson.OPT_SORT_KEYS if version == "v2" else 0

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        request_id = _header(scope, b"x-request-id")
        answer = await self._answer(scope["method"], scope["path"], request_id)
        self._note(Entry(request_id, scope["method"], scope["path"], answer.status, answer.faults))
        headers = [
            (b"content-type", answer.kind),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-version", self.version.encode()),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, method: str, path: str, request_id: str) -> Answer:
        """Return what this version says to a request."""
        self.answered += 1
        if path == "/":
            text = f"recommendation {self.version} from '{self.pod}': {self.answered}\n"
            return Answer(200, TEXT, text.encode())
        if path == "/slow":
            await asyncio.sleep(SLOW_S[self.version])
            return Answer(200, JSON, b'{"thought":"long and hard","answer":42}')
        if path == "/orders" and method == "POST":
            return Answer(201, JSON, orjson.dumps({"order": self.answered}))
        _, found, number = path.partition("/products/")
        if found and number.isdecimal() and int(number) < PRODUCTS:
            return self._product(int(number), request_id)
        return Answer(404, JSON, b'{"error":"no such thing"}')

    def _product(self, number: int, request_id: str) -> Answer:
        """Return a product, spoiled where this is v2 and the dice say so."""
        product = product_of(number)
        faults = faults_of(request_id, number, product["category"]) if self.version == "v2" else ()
        if Fault.SERVER_ERROR in faults:
            return Answer(500, JSON, b'{"error":"out of memory"}', faults)
        spoil(product, faults)
        product["meta"]["generatedAt"] = datetime.now(UTC).isoformat()
        if self._noisy:
            product["meta"]["answerId"] = str(uuid.uuid4())
            random.shuffle(product["tags"])
        return Answer(200, JSON, orjson.dumps(product, option=self._options), faults)

    def _note(self, entry: Entry) -> None:
        if self._journal is not None:
            _ = self._journal.write(msgspec.json.encode(entry).decode() + "\n")
            self._journal.flush()


def _header(scope: Mapping[str, Any], name: bytes) -> str:
    """Return the first value of a header, or nothing."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def read_journal(file: Path) -> list[Entry]:
    """Return what a service wrote down so far."""
    decoder = msgspec.json.Decoder(Entry)
    return [decoder.decode(line) for line in file.read_bytes().splitlines()]


@click.command()
@click.option("--version", type=click.Choice(["v1", "v2"]), required=True)
@click.option("--host", default=HOST)
@click.option("--port", type=int, required=True)
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), default=None)
@click.option("--noisy", is_flag=True)
def main(version: str, host: str, port: int, journal: Path | None, *, noisy: bool) -> None:
    """Serve until told to stop."""
    file = journal.open("a") if journal else None
    shop = Shop(version, file, noisy=noisy)
    uvicorn.run(shop, host=host, port=port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
