"""Test URLs that name several hosts."""

from __future__ import annotations

import pytest

from shadowdiff.store.connections import HostsUrl, parse_hosts_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+cluster://a,b:7001", HostsUrl((("a", 6379), ("b", 7001)), None, None, tls=False, service="", db=0)),
        ("rediss+cluster://me:p%40ss@a:1/", HostsUrl((("a", 1),), "me", "p@ss", tls=True, service="", db=0)),
        ("redis+sentinel://[::1],b/main/3", HostsUrl((("::1", 26379), ("b", 26379)), None, None, False, "main", 3)),
    ],
)
def test_a_url_has_the_address_and_the_user(url: str, expected: HostsUrl) -> None:
    """Each host has its port or the default one; user and password are percent-decoded."""
    assert expected == parse_hosts_url(url)


def test_a_missing_host_is_reported() -> None:
    """An extra comma does not add a host."""
    with pytest.raises(ValueError, match="a host name is missing"):
        parse_hosts_url("redis+cluster://a,,b")
