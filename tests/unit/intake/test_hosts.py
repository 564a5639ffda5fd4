"""Test which target a Host belongs to."""

from __future__ import annotations

import pytest

from shadowdiff.intake.routing import REMEMBERED_HOSTS, HostIndex, HostMatch, without_shadow

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


def test_remembered_hosts_are_bounded() -> None:
    """Clients choose these hosts, so their number is limited."""
    index = HostIndex([("a", 1)])
    for number in range(REMEMBERED_HOSTS + 100):
        index.find(b"h%d" % number)
    assert REMEMBERED_HOSTS == len(index.remembered)
    assert HostMatch(1, "a:1") == index.find(b"a-shadow:1")
