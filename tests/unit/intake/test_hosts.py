"""Test which target a Host belongs to."""

from __future__ import annotations

import pytest

from shadowdiff.intake.routing import MOST_HOST_CHARS, REMEMBERED_HOSTS, HostIndex, HostMatch, without_shadow

INDEX = HostIndex(
    [
        ("recommendation", "r"),
        ("recommendation.tutorial", "r"),
        ("Cased", "c"),
        ("ported:8080", "p"),
        ("the-shadow", "s"),
        ("recommendation", "later"),
    ]
)


@pytest.mark.parametrize(
    ("raw", "entry", "host"),
    [
        (b"recommendation", "r", "recommendation"),
        (b"recommendation:8080", "r", "recommendation:8080"),
        (b"recommendation-shadow:8080", "r", "recommendation:8080"),
        (b"recommendation.tutorial-shadow", "r", "recommendation.tutorial"),
        (b"RECOMMENDATION-Shadow", "r", "RECOMMENDATION"),
        (b"cased", "c", "cased"),
        (b"Cased:1", "c", "Cased:1"),
        (b"ported:8080", "p", "ported:8080"),
        (b"ported-shadow:8080", "p", "ported:8080"),
        (b"the-shadow", "s", "the-shadow"),
        (b"the-shadow:80", "s", "the-shadow:80"),
        (b"the-shadow-shadow:80", "s", "the-shadow:80"),
        (b"ported:81", None, "ported:81"),
        (b"other-shadow:80", None, "other:80"),
        (b"-shadow", None, "-shadow"),
        (b"", None, ""),
        (b"\xff\xfe", None, "\xff\xfe"),
    ],
)
def test_a_host_matches_exactly_or_without_case_shadow_and_port(raw: bytes, entry: str | None, host: str) -> None:
    """Envoy adds its suffix before the port, and a configured host that ends in it keeps it."""
    assert HostMatch(entry, host) == INDEX.find(raw)
    assert HostMatch(entry, host) == INDEX.find(raw), "the remembered answer is the same"


@pytest.mark.parametrize(
    ("host", "plain"),
    [("[::1]-shadow:80", "[::1]:80"), ("[::1]:80", "[::1]:80"), ("::1", "::1"), ("h-shadow:x", "h-shadow:x")],
)
def test_addresses_lose_only_the_suffix(host: str, plain: str) -> None:
    """An IPv6 address is not split at its own colons."""
    assert plain == without_shadow(host)


WILD = HostIndex([("*.shop.example", "shop"), ("*.eu.shop.example", "eu"), ("a.shop.example", "a"), ("*.p:81", "p")])


@pytest.mark.parametrize(
    ("raw", "entry", "host"),
    [
        (b"b.shop.example", "shop", "b.shop.example"),
        (b"B.Shop.example:8080", "shop", "B.Shop.example:8080"),
        (b"x.b.shop.example", "shop", "x.b.shop.example"),
        (b"b.shop.example-shadow:80", "shop", "b.shop.example:80"),
        (b"b.eu.shop.example", "eu", "b.eu.shop.example"),
        (b"eu.shop.example", "shop", "eu.shop.example"),
        (b"a.shop.example", "a", "a.shop.example"),
        (b"x.a.shop.example", "shop", "x.a.shop.example"),
        (b"x.p:81", "p", "x.p:81"),
        (b"x.p:82", None, "x.p:82"),
        (b"shop.example", None, "shop.example"),
        (b".shop.example", None, ".shop.example"),
        (b"evilshop.example", None, "evilshop.example"),
        (b"x.shop.example.evil", None, "x.shop.example.evil"),
    ],
)
def test_a_wildcard_matches_names_below_it(raw: bytes, entry: str | None, host: str) -> None:
    """A wildcard matches one or more labels. An exact host and a longer wildcard have priority."""
    assert HostMatch(entry, host) == WILD.find(raw)


def test_a_host_that_is_too_long_matches_no_wildcard() -> None:
    """So the time for a lookup is limited."""
    assert WILD.find(b"a." * 30_000 + b"shop.example").entry is None
    assert "shop" == WILD.find(b"a." * 120 + b"shop.example").entry


def test_remembered_hosts_are_bounded() -> None:
    """Clients choose these hosts, so their number and length are limited."""
    index = HostIndex([("a", 1)])
    assert index.find(b"h" * 60_000).entry is None
    for number in range(REMEMBERED_HOSTS + 100):
        index.find(b"h%d" % number)
    assert REMEMBERED_HOSTS == len(index.remembered)
    assert max(map(len, index.remembered)) <= MOST_HOST_CHARS
    assert HostMatch(1, "a:1") == index.find(b"a-shadow:1")
