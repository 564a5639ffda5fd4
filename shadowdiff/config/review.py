"""What is allowed and cannot work, or not as it seems: warnings, each with its line and the way out.

In: a checked configuration.  Out: warnings; an empty list says nothing was found, not that all is well.
Pure but for the place of each line: opens nothing, resolves no name and reads no clock.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shadowdiff.compare import COMPARED_HEADERS
from shadowdiff.config.units import duration_text
from shadowdiff.intake.hosts import HostIndex, split_port
from shadowdiff.rules import lint_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shadowdiff.config.problem import Problem
    from shadowdiff.config.refusal import Place
    from shadowdiff.config.values import Config, TargetConfig
    from shadowdiff.model import Target

_WHO: Final = {"candidate": "v2", "control": "the second v1"}


def review(config: Config, place: Place, now: datetime) -> Iterator[Problem]:
    """Yield what cannot work at an instant."""
    if not config.targets:
        yield place.problem(("targets",), "is empty, so nothing is compared; name a service and its candidate")
    yield from _whole(config, place)
    index = HostIndex((host, each.target.name) for each in config.targets for host in each.target.hosts)
    for number, each in enumerate(config.targets):
        at = ("targets", number)
        yield from _times(each.target, at, config, place)
        yield from _loops(each.target, at, config, place)
        yield from _shares(each.target, at, place)
        yield from _hosts(each.target, at, index, place)
        yield from _routes(each.target, at, place)
        yield from _rules(each, at, place, now)
        if each.protobuf is not None and not each.protobuf.answers and "POST" not in each.target.methods:
            message = "leaves POST out, which every gRPC call is, so that none is compared; see docs/grpc.md"
            yield place.problem((*at, "methods"), message)


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
        timeout_s, queue_timeout_s = (round(window_s * share, 3) for share in (0.6, 0.3))
        message = (
            f"is {duration_text(target.candidate.timeout_s)}, candidate.queue_timeout "
            f"{duration_text(target.candidate.queue_timeout_s)}: together they must be less than pairing.window, "
            f"{duration_text(window_s)}, or late answers find no partner; write, for example, "
            f"timeout: {duration_text(timeout_s)} and queue_timeout: {duration_text(queue_timeout_s)}"
        )
        yield place.problem((*at, "candidate", "timeout"), message)
    if target.control and target.control.timeout_s >= window_s:
        message = f"is not shorter than pairing.window, {duration_text(window_s)}; shorten it or lengthen the window"
        yield place.problem((*at, "control", "timeout"), message)


def _loops(target: Target, at: tuple[str | int, ...], config: Config, place: Place) -> Iterator[Problem]:
    """Yield a candidate or control that is this very service: each copy would come back as a request."""
    listen = config.listen
    own = {getattr(listen, name): name for name in ("metrics", "web", "records", "mirror") if getattr(listen, name)}
    for key, side in (("candidate", target.candidate), ("control", target.control)):
        parts = urlsplit(side.url) if side else None
        if side is None or parts is None or not _is_local(parts.hostname or "", listen.host):
            continue
        name = own.get(parts.port or (443 if parts.scheme == "https" else 80))
        if name is not None:
            message = f"is this service's own {name} port (listen.{name}); name the address of {_WHO[key]}"
            yield place.problem((*at, key, "url"), message, side.url)


def _is_local(host: str, listening: str) -> bool:
    """Return whether a host is this machine as far as its name tells; nothing is resolved."""
    if host == "localhost" or host.endswith(".localhost") or host == listening.lower():
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


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


def _rules(each: TargetConfig, at: tuple[str | int, ...], place: Place, now: datetime) -> Iterator[Problem]:
    """Yield rules that do nothing, hide a whole body, or are left nothing to do by another."""
    odd = lint_rules(each.rules, compared_headers=COMPARED_HEADERS, methods=each.target.methods, now=now)
    for warning in odd:
        yield place.problem((*at, "rules", warning.index), f"{warning.label} {warning.said}")
