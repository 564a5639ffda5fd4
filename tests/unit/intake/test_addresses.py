"""The addresses of v2's name: all take turns, are resolved again, and are skipped for a limited time if they fail."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.intake.connect import (
    FIRST_BACKOFF_S,
    LONGEST_BACKOFF_S,
    REFRESH_S,
    RESOLVE_AGAIN_S,
    Addresses,
    ConnectError,
)


class Dns:
    """A name server and a clock that the test controls."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)
        self.lookups = 0
        self.now_s = 100.0

    async def resolve(self, _host: str, _port: int) -> list[str]:
        """Return the current addresses of the name, or raise if there are no addresses."""
        self.lookups += 1
        if not self.hosts:
            raise OSError("no such name")
        return list(self.hosts)

    def addresses(self) -> Addresses:
        """Return the addresses of a name that this server knows."""
        return Addresses("v2.example", 80, self.resolve, lambda: self.now_s)


async def resolved(addresses: Addresses) -> Addresses:
    """Return the addresses once they are resolved."""
    await addresses.resolved()
    return addresses


def turns(addresses: Addresses, count: int) -> Counter[str | None]:
    """Return how often each address is used."""
    return Counter(addresses.turn() for _ in range(count))


@given(hosts=st.integers(1, 40), rounds=st.integers(1, 5))
async def test_all_addresses_have_equal_shares(hosts: int, rounds: int) -> None:
    """Under steady traffic the shares are equal to within one request."""
    names = [f"10.0.0.{number}" for number in range(hosts)]
    found = turns(await resolved(Dns(*names).addresses()), hosts * rounds)
    assert dict.fromkeys(names, rounds) == found


async def test_a_name_is_resolved_again_under_steady_traffic() -> None:
    """The name is resolved every ten seconds, and requests meanwhile use the known addresses."""
    dns = Dns("10.0.0.1", "10.0.0.2")
    addresses = await resolved(dns.addresses())
    dns.hosts = ["10.0.0.2", "10.0.0.3"]
    assert {"10.0.0.1": 5, "10.0.0.2": 5} == turns(addresses, 10)
    assert 1 == dns.lookups
    dns.now_s += REFRESH_S
    addresses.turn()
    await until_looked_up(addresses)
    assert {"10.0.0.2": 5, "10.0.0.3": 5} == turns(addresses, 10)
    assert 2 == dns.lookups


async def until_looked_up(addresses: Addresses) -> None:
    """Wait for the current lookup."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert "Addresses" in repr(addresses)


async def test_known_addresses_stay_while_dns_fails() -> None:
    """The name is resolved once a second, not for each request."""
    dns = Dns("10.0.0.1")
    addresses = await resolved(dns.addresses())
    dns.hosts = []
    dns.now_s += REFRESH_S
    for _ in range(50):
        assert "10.0.0.1" == addresses.turn()
        await until_looked_up(addresses)
    assert (2, True) == (dns.lookups, addresses.is_unresolved)
    dns.now_s += RESOLVE_AGAIN_S
    dns.hosts = ["10.0.0.9"]
    addresses.turn()
    await until_looked_up(addresses)
    assert ("10.0.0.9", False) == (addresses.turn(), addresses.is_unresolved)


async def test_a_name_without_an_address_is_unresolved() -> None:
    """Requests at the same time share a lookup, and those of the next second share its result."""
    dns = Dns()
    addresses = dns.addresses()
    for _ in range(20):
        with pytest.raises(ConnectError, match="unresolved"):
            await addresses.resolved()
    assert 1 == dns.lookups
    dns.now_s += RESOLVE_AGAIN_S
    dns.hosts = ["10.0.0.1"]
    assert "10.0.0.1" == (await resolved(addresses)).turn()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_resolved(host: str) -> None:
    """An IP address never needs a lookup."""
    dns = Dns()
    addresses = Addresses(host, 80, dns.resolve, lambda: dns.now_s)
    await addresses.resolved()
    dns.now_s += 10 * REFRESH_S
    assert (host, 0) == (addresses.turn(), dns.lookups)


async def test_a_failing_address_is_tried_less_and_less_often() -> None:
    """One request tries it after a second, and later every ten seconds.

    The other addresses get equal numbers of requests.
    """
    dns = Dns("10.0.0.1", "10.0.0.2", "10.0.0.3")
    addresses = await resolved(dns.addresses())
    tried_s: list[float] = []
    used: Counter[str | None] = Counter()
    dns.lookups = 0
    start_s = dns.now_s
    while dns.now_s < start_s + 60:
        for _ in range(3):
            address = addresses.turn()
            if address == "10.0.0.2":
                tried_s.append(dns.now_s - start_s)
                addresses.failed("10.0.0.2")
                address = addresses.turn({"10.0.0.2"})
            used[address] += 1
            addresses.connected(address or "")
        dns.now_s += 0.25
    waits_s = [after - before for before, after in itertools.pairwise(tried_s)]
    assert [FIRST_BACKOFF_S, 2, 4, 8, *[LONGEST_BACKOFF_S] * 4] == waits_s[:8]
    assert {"10.0.0.1", "10.0.0.3"} == set(used)
    assert min(used.values()) > 0.9 * max(used.values())


async def test_failures_at_once_count_as_one() -> None:
    """A hundred requests that find an address dead do not disable it for a long time."""
    dns = Dns("10.0.0.1", "10.0.0.2")
    addresses = await resolved(dns.addresses())
    for _ in range(100):
        addresses.failed("10.0.0.1")
    dns.now_s += FIRST_BACKOFF_S
    assert "10.0.0.1" in turns(addresses, 2)


async def test_an_address_that_works_again_has_its_share_at_once() -> None:
    """A successful connection clears the failures of an address."""
    dns = Dns("10.0.0.1", "10.0.0.2")
    addresses = await resolved(dns.addresses())
    addresses.failed("10.0.0.1")
    assert {"10.0.0.2": 4} == turns(addresses, 4)
    addresses.connected("10.0.0.1")
    assert {"10.0.0.1": 2, "10.0.0.2": 2} == turns(addresses, 4)


@given(hosts=st.integers(1, 30), failing=st.integers(0, 30))
async def test_one_request_tries_each_address_once_at_most(hosts: int, failing: int) -> None:
    """A request tries working addresses first. If all have failed before, it tries a few, so a dead v2 costs little."""
    dns = Dns(*(f"10.0.0.{number}" for number in range(hosts)))
    addresses = await resolved(dns.addresses())
    for host in dns.hosts[:failing]:
        addresses.failed(host)
    tried: list[str] = []
    while (address := addresses.turn(tried)) is not None:
        assert addresses.usable(tried)
        tried.append(address)
    assert not addresses.usable(tried)
    assert len(tried) == len(set(tried))
    works = set(dns.hosts[failing:])
    assert works == set(tried[: len(works)])
    assert len(tried) <= max(len(works), 4)
    assert tried
