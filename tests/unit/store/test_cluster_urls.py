"""URLs that name several hosts."""

from __future__ import annotations

import pytest

from shadowdiff.store.cluster import Hosts, hosts_of


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+cluster://a,b:7001", Hosts((("a", 6379), ("b", 7001)), None, None, tls=False, service="", db=0)),
        ("rediss+cluster://me:p%40ss@a:1/", Hosts((("a", 1),), "me", "p@ss", tls=True, service="", db=0)),
        ("redis+sentinel://[::1],b/main/3", Hosts((("::1", 26379), ("b", 26379)), None, None, False, "main", 3)),
    ],
)
def test_a_url_says_where_and_as_whom(url: str, told: Hosts) -> None:
    """Each host has its port or the default one; user and password are percent-decoded."""
    assert told == hosts_of(url)


def test_a_host_that_is_missing_is_said() -> None:
    """A comma too many is no host."""
    with pytest.raises(ValueError, match="names no host"):
        hosts_of("redis+cluster://a,,b")
