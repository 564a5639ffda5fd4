"""What is allowed and cannot work, or not as it seems: warnings, each with its line and the way out.

In: a checked configuration.  Out: warnings; an empty list says nothing was found, not that all is well.
Pure but for the place of each line: opens nothing and resolves no name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shadowdiff.config.units import duration_text
from shadowdiff.intake.hosts import HostIndex, split_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.config.problem import Problem
    from shadowdiff.config.refusal import Place
    from shadowdiff.config.values import Config
    from shadowdiff.model import Target


def review(config: Config, place: Place) -> Iterator[Problem]:
    """Yield what cannot work."""
    if not config.targets:
        yield place.problem(("targets",), "is empty, so nothing is compared; name a service and its candidate")
    yield from _whole(config, place)
    index = HostIndex((host, each.target.name) for each in config.targets for host in each.target.hosts)
    for number, each in enumerate(config.targets):
        at = ("targets", number)
        yield from _times(each.target, at, config, place)
        yield from _shares(each.target, at, place)
        yield from _hosts(each.target, at, index, place)
        yield from _routes(each.target, at, place)


def _whole(config: Config, place: Place) -> Iterator[Problem]:
    if config.limits.in_flight_bytes < config.limits.body_bytes:
        message = "is less than limits.body, so a large body is always shed; raise it"
        yield place.problem(("limits", "in_flight_bytes"), message)
    if config.pairing.claim_idle_s * 1000 <= config.limits.compare_ms:
        message = "is not longer than limits.compare_ms, so another worker takes over what is still at work; raise it"
        yield place.problem(("pairing", "claim_idle"), message)
    if config.store.url is None and config.store.shards > 1:
        yield place.problem(("store", "shards"), "above 1 serves a cluster alone; leave it out")


def _times(target: Target, at: tuple[str | int, ...], config: Config, place: Place) -> Iterator[Problem]:
    """Yield deadlines that the pairing window cuts off."""
    window_s = config.pairing.window_s
    longest_s = target.candidate.timeout_s + target.candidate.queue_timeout_s
    if longest_s >= window_s:
        message = (
            f"may take {duration_text(longest_s)} with candidate.queue_timeout, and pairing.window ends after "
            f"{duration_text(window_s)}: late answers find no partner; shorten it or lengthen the window"
        )
        yield place.problem((*at, "candidate", "timeout"), message)
    if target.control and target.control.timeout_s >= window_s:
        message = f"is not shorter than pairing.window, {duration_text(window_s)}; shorten it or lengthen the window"
        yield place.problem((*at, "control", "timeout"), message)


def _shares(target: Target, at: tuple[str | int, ...], place: Place) -> Iterator[Problem]:
    """Yield shares that let nothing through, and gates that no number can pass."""
    if target.sample == 0:
        yield place.problem((*at, "sample"), "is 0, so nothing is compared; write a share such as 0.1")
    if target.control and target.control.sample == 0:
        yield place.problem((*at, "control", "sample"), "is 0, so the control is never asked; write 0.05")
    if target.control and target.control.url == target.candidate.url:
        yield place.problem((*at, "control", "url"), "is the candidate's; a control is a second v1")
    if target.gate.max_mismatch_ratio == 0:
        message = "is 0, which no number of pairs can prove; write a small ratio such as 0.001"
        yield place.problem((*at, "gate", "max_mismatch_ratio"), message)
    if target.gate.min_coverage == 1:
        message = "is 1, so that a single request that the mesh did not mirror blocks the gate; write 0.95"
        yield place.problem((*at, "gate", "min_coverage"), message)


def _hosts(target: Target, at: tuple[str | int, ...], index: HostIndex[str], place: Place) -> Iterator[Problem]:
    """Yield hosts whose requests, or whose mirrored copies, go to another target; and a candidate behind them."""
    for number, host in enumerate(target.hosts):
        name, port = split_port(host)
        for seen in (host, f"{name}-shadow{port}"):
            other = index.find_text(seen).entry
            if other != target.name:
                message = f"belongs to target {other}, which gets requests for {seen}; give each host to one target"
                yield place.problem((*at, "hosts", number), message, host)
                break
    for side in (target.candidate, target.control):
        authority = urlsplit(side.url).netloc.lower() if side else ""
        if side and authority in {host.lower() for host in target.hosts}:
            key = "candidate" if side is target.candidate else "control"
            message = f"is one of this target's own hosts, behind which is v1 with its users; name the {key}'s own"
            yield place.problem((*at, key, "url"), message, side.url)


def _routes(target: Target, at: tuple[str | int, ...], place: Place) -> Iterator[Problem]:
    """Yield routes whose method is never forwarded."""
    for number, route in enumerate(target.routes):
        method, _, path = route.rpartition(" ")
        if method and method not in target.methods:
            message = f"never happens, since `methods` lacks {method}; add it if {path} is safe to ask twice"
            yield place.problem((*at, "routes", number), message, route)
