"""The demo's `recommendation` service, as v1 and as v2: `python -m shadowdiff.demo.shop --version v1 --port 9001`.

The responses of v1 and v2 are equivalent except for v2's planted faults. Any two instances also differ in pod, counter,
clock and key order; with `--noisy`, also in an id and the order of tags. In every run, the same request id gets the
same faults. With `--journal FILE`, each instance logs its responses and their faults.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import uuid
import zlib
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
import orjson
import uvicorn

from shadowdiff.demo.process import HOST

if TYPE_CHECKING:
    import io

    from starlette.types import Receive, Scope, Send

PRODUCTS = 200
CATEGORIES = ("books", "garden", "games", "kitchen", "music", "office", "outdoor", "pets", "sport", "tools")
SLOW_S = {"v1": 0.01, "v2": 0.06}
REVIEW = "Does what it should, and arrived on time."
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
ONE_IN = 50
ERROR_PRODUCT = 13
STRING_EVERY = 25
STRING_AT = 3
CATEGORY = "garden"


class Fault(StrEnum):
    """A fault that is planted in v2."""

    WRONG_PRICE = "wrong price"
    MISSING_FIELD = "missing field"
    INTEGER_AS_STRING = "integer as string"
    SERVER_ERROR = "server error"


class PathKind(NamedTuple):
    """The path and kind of a difference that shadowdiff reports."""

    path: str
    kind: str


FAULT_DIFFERENCES: dict[Fault, PathKind] = {
    Fault.WRONG_PRICE: PathKind("$['price']['amount']", "value"),
    Fault.MISSING_FIELD: PathKind("$['shipping']", "removed"),
    Fault.INTEGER_AS_STRING: PathKind("$['stock']['count']", "type"),
    Fault.SERVER_ERROR: PathKind("status", "status"),
}
"""The difference that each fault causes."""


def faults_of(request_id: str, product: int, category: str) -> tuple[Fault, ...]:
    """Return the faults in the response for a product. A response with a server error has no other faults."""
    if product == ERROR_PRODUCT:
        return (Fault.SERVER_ERROR,)
    is_planted = {
        Fault.WRONG_PRICE: zlib.crc32(request_id.encode()) % ONE_IN == 0,
        Fault.MISSING_FIELD: category == CATEGORY,
        Fault.INTEGER_AS_STRING: product % STRING_EVERY == STRING_AT,
    }
    return tuple(fault for fault, planted in is_planted.items() if planted)


def explains(fault: Fault, found: PathKind) -> bool:
    """Return whether the fault causes a difference. A response with status 500 differs at every path."""
    return fault is Fault.SERVER_ERROR or found == FAULT_DIFFERENCES[fault]


class JournalEntry(msgspec.Struct, frozen=True):
    """A response in the journal of the service that sent the response."""

    id: str
    method: str
    path: str
    status: int
    faults: tuple[str, ...] = ()


class ShopResponse(msgspec.Struct, frozen=True):
    """One response and its faults."""

    status: int
    media_type: bytes
    body: bytes
    faults: tuple[Fault, ...] = ()


def product_of(number: int) -> dict[str, Any]:
    """Return a product of 1 to 2 KB. The same number always gives the same product."""
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


def plant(product: dict[str, Any], faults: tuple[Fault, ...]) -> None:
    """Plant faults in a product."""
    if Fault.WRONG_PRICE in faults:
        product["price"]["amount"] = round(product["price"]["amount"] + 1, 2)
    if Fault.MISSING_FIELD in faults:
        del product["shipping"]
    if Fault.INTEGER_AS_STRING in faults:
        product["stock"]["count"] = str(product["stock"]["count"])


def _random_pod() -> str:
    """Return six random hex digits that are an id in every instance, never a number such as `123456` or `12345d`.

    A change from an id to a number is another place than a change to another id, so v2's pod would not be noise.
    """
    return secrets.choice("abcdef") + secrets.choice("0123456789") + secrets.choice("abcdef") + secrets.token_hex(2)[:3]


class Shop:
    """One instance of the service: an ASGI application."""

    def __init__(self, version: str, journal: io.TextIOBase | None, *, noisy: bool = False) -> None:
        self.version = version
        self._noisy = noisy
        self.pod = _random_pod()
        self.answered = 0
        self._journal = journal
        self._options = orjson.OPT_SORT_KEYS if version == "v2" else 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        request_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        response = await self._respond(scope["method"], scope["path"], request_id)
        if self._journal is not None:
            entry = JournalEntry(request_id, scope["method"], scope["path"], response.status, response.faults)
            _ = self._journal.write(msgspec.json.encode(entry).decode() + "\n")
            self._journal.flush()
        headers = [
            (b"content-type", response.media_type),
            (b"content-length", str(len(response.body)).encode()),
            (b"x-version", self.version.encode()),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, method: str, path: str, request_id: str) -> ShopResponse:
        self.answered += 1
        if path == "/":
            text = f"recommendation {self.version} from '{self.pod}': {self.answered}\n"
            return ShopResponse(200, TEXT, text.encode())
        if path == "/slow":
            await asyncio.sleep(SLOW_S[self.version])
            return ShopResponse(200, JSON, b'{"thought":"long and hard","answer":42}')
        if path == "/orders" and method == "POST":
            return ShopResponse(201, JSON, orjson.dumps({"order": self.answered}))
        _, found, number = path.partition("/products/")
        if found and number.isdecimal() and int(number) < PRODUCTS:
            return self._product(int(number), request_id)
        return ShopResponse(404, JSON, b'{"error":"no such thing"}')

    def _product(self, number: int, request_id: str) -> ShopResponse:
        product = product_of(number)
        faults = faults_of(request_id, number, product["category"]) if self.version == "v2" else ()
        if Fault.SERVER_ERROR in faults:
            return ShopResponse(500, JSON, b'{"error":"out of memory"}', faults)
        plant(product, faults)
        product["meta"]["generatedAt"] = datetime.now(UTC).isoformat()
        if self._noisy:
            product["meta"]["answerId"] = str(uuid.uuid4())
            random.shuffle(product["tags"])
        return ShopResponse(200, JSON, orjson.dumps(product, option=self._options), faults)


def read_journal(file: Path) -> list[JournalEntry]:
    """Return the current entries of a service's journal."""
    return msgspec.json.Decoder(JournalEntry).decode_lines(file.read_bytes())


@click.command()
@click.option("--version", type=click.Choice(["v1", "v2"]), required=True)
@click.option("--host", default=HOST)
@click.option("--port", type=int, required=True)
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), default=None)
@click.option("--noisy", is_flag=True)
def main(version: str, host: str, port: int, journal: Path | None, *, noisy: bool) -> None:
    """Serve until terminated."""
    shop = Shop(version, journal.open("a") if journal else None, noisy=noisy)
    uvicorn.run(shop, host=host, port=port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
