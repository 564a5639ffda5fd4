"""Test which member names are values, and which are names."""

from __future__ import annotations

import base64
import hashlib
import random
import string
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shadowdiff.rules.member_names import name_class
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (ROOT / "fixtures" / "member-names.txt").read_text().splitlines()
"""Names from the schemas of Kubernetes, JSON Schema, SPDX and OpenTelemetry, and names that look like values."""
BASE_62 = string.ascii_letters + string.digits


def test_no_ordinary_name_is_a_value() -> None:
    """Names with digits, dashes and versions stay names."""
    assert {name: found for name in NAMES if (found := name_class(name))} == {}


@pytest.mark.parametrize("name", ["", "$", "@type", "#text", "{uuid}", "[*]", "über", "price", "a" * 40, "x" * 5000])
def test_text_without_a_form_is_a_name(name: str) -> None:
    """Short, empty, long and special names stay names."""
    assert not name_class(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0", "{id}"),
        ("4711", "{id}"),
        ("-3", "{id}"),
        ("2.5", "{id}"),
        ("10.0.0.1", "{id}"),
        ("2026-11-30", "{date}"),
        ("2026-11", "{date}"),
        ("2026/11/30", "{date}"),
        ("2026-11-30T20:06:00Z", "{date}"),
        ("2026-11-30 20:06:00.5+01:00", "{date}"),
        ("ada@example.com", "{email}"),
        ("0xDEADBEEF", "{hex}"),
        ("507f1f77bcf86cd799439011", "{hex}"),
        ("3f2a9bc1", "{hex}"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "{token}"),
        ("checkout-7d9f8c6b5-x2x9q", "{pod}"),
        ("user:42", "user:{id}"),
        ("user:0b5f8f0e-6f5c-4b7e-9d0a-2f6c1f2d3e4f", "user:{uuid}"),
        ("cart-fedcbafe-6f5c-4b7e-9d0a-2f6c1f2d3e4f", "cart-{uuid}"),
        ("pi_3MtwBwLkdIwHu7ix28a3tqPa", "{token}"),
    ],
)
def test_a_value_has_the_class_of_its_form(name: str, expected: str) -> None:
    """A prefix before a value stays visible."""
    assert name_class(name) == expected


GENERATORS: dict[str, Callable[[random.Random], str]] = {
    "{uuid}": lambda r: str(uuid.UUID(int=r.getrandbits(128))),
    "{id}": lambda r: str(r.getrandbits(40)),
    "{date}": lambda r: datetime.fromtimestamp(r.randrange(2**31), UTC).isoformat(),
    "{email}": lambda r: f"{r.choice(string.ascii_lowercase)}{r.getrandbits(9)}@mail.example.org",
    "{hex}": lambda r: hashlib.sha256(r.randbytes(4)).hexdigest(),
    "sha256:{hex}": lambda r: f"sha256:{hashlib.sha256(r.randbytes(4)).hexdigest()}",
    "{token}": lambda r: "01" + "".join(r.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24)),
    "order:{uuid}": lambda r: f"order:{uuid.UUID(int=r.getrandbits(128))}",
}


@pytest.mark.parametrize("expected", GENERATORS)
def test_every_id_of_a_form_has_one_class(expected: str) -> None:
    """All ids of one generator are one place."""
    made = random.Random(5)
    assert {name_class(GENERATORS[expected](made)) for _ in range(500)} == {expected}


@pytest.mark.parametrize("chars", [16, 20, 22, 27, 40])
def test_most_random_text_is_a_token(chars: int) -> None:
    """A few random texts look like words; these stay names, or are learned."""
    made = random.Random(chars)
    found = [name_class("".join(made.choices(BASE_62, k=chars))) for _ in range(1000)]
    urls = [name_class(base64.urlsafe_b64encode(made.randbytes(24)).decode()) for _ in range(1000)]
    assert min(found.count("{token}"), sum(one.endswith("{token}") for one in urls)) > 800


def test_a_class_depends_on_the_name_alone() -> None:
    """Every process and every order of names gives the same class."""
    shuffled = NAMES + [make(random.Random(1)) for make in GENERATORS.values()]
    before = {name: name_class(name) for name in shuffled}
    random.Random(2).shuffle(shuffled)
    assert {name: name_class(name) for name in shuffled} == before
