"""Warn about settings that are valid but cannot work, or do not do what they seem to do.

Each warning has its line and its fix. This module opens no files, resolves no names and reads no clock.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shadowdiff.compare import headers_of
from shadowdiff.config.value_types import duration_text
from shadowdiff.intake.routing import HostIndex, split_port
from shadowdiff.report.secret_names import plain, plain_names
from shadowdiff.rules import Traffic, lint_rules, method_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from shadowdiff.config.document import Document
    from shadowdiff.config.problem import KeyPath, Problem
    from shadowdiff.config.settings import Config, TargetConfig
    from shadowdiff.model import Target


def lint(config: Config, document: Document, now: datetime) -> Iterator[Problem]:
    """Yield a warning for each setting that cannot work; rules may have expired by `now`."""
    if not config.targets:
        yield document.problem(("targets",), "is empty, so nothing is compared; add a service and its candidate")
    yield from _whole(config, document)
    index = HostIndex((host, each.target.name) for each in config.targets for host in each.target.hosts)
    for number, each in enumerate(config.targets):
        path = ("targets", number)
        yield from _times(each.target, path, config, document)
        yield from _loops(each.target, path, config, document)
        yield from _shares(each.target, path, document)
        yield from _hosts(each.target, path, index, document)
        yield from _methods(each, path, document)
        yield from _conditions(each.target, path, document)
        methods = {*map(method_of, each.target.methods), *(["POST"] if each.target.graphql else [])}
        found = lint_rules(each.rules, compared_headers=headers_of(each.target), methods=methods, now=now)
        for warning in found:
            yield document.problem((*path, "rules", warning.index), f"{warning.label} {warning.text}")


def _whole(config: Config, document: Document) -> Iterator[Problem]:
    if config.limits.in_flight_bytes < config.limits.body_bytes:
        message = "is less than limits.body, so large bodies are always shed; raise it"
        yield document.problem(("limits", "in_flight_bytes"), message)
    if config.pairing.claim_idle_s * 1000 <= config.limits.compare_ms:
        message = "is not longer than limits.compare_ms, so another worker takes over unfinished comparisons; raise it"
        yield document.problem(("pairing", "claim_idle"), message)
    if config.store.url is None and config.store.shards > 1:
        yield document.problem(("store", "shards"), "has no use without a cluster; remove it")
    yield from _groups(config, document)
    both = plain_names(config.redaction.names) & plain_names(config.redaction.allow)
    for number, name in enumerate(config.redaction.allow):
        if plain(name) in both:
            message = f"has no effect, because {name!r} is also in redaction.names; remove it from one of the lists"
            yield document.problem(("redaction", "allow", number), message)


def _groups(config: Config, document: Document) -> Iterator[Problem]:
    """Yield warnings for a group with targets but no role, or with a role but no targets."""
    proxy = config.access.proxy
    if proxy is None or not proxy.targets:
        return
    roles = {"read": proxy.read, "write": proxy.write, "export": proxy.export}
    granted = {group for groups in roles.values() for group in groups}
    for group in proxy.targets if "*" not in granted else ():
        if group not in granted:
            message = f"gives targets to {group}, which has no role; add it to read, write or export"
            yield document.problem(("access", "proxy", "targets"), message)
    for role, groups in roles.items():
        for number, group in enumerate(groups):
            if group != "*" and group not in proxy.targets:
                message = (
                    f'may use no target, because access.proxy.targets does not list it; add `{group}: ["*"]` there'
                )
                yield document.problem(("access", "proxy", role, number), message, group)


def _times(target: Target, path: KeyPath, config: Config, document: Document) -> Iterator[Problem]:
    window_s = config.pairing.window_s
    if target.candidate.timeout_s + target.candidate.queue_timeout_s >= window_s:
        message = (
            f"is {duration_text(target.candidate.timeout_s)}, candidate.queue_timeout "
            f"{duration_text(target.candidate.queue_timeout_s)}: together they must be less than pairing.window, "
            f"{duration_text(window_s)}, or late responses find no partner; write, for example, timeout: "
            f"{duration_text(round(window_s * 0.6, 3))} and queue_timeout: {duration_text(round(window_s * 0.3, 3))}"
        )
        yield document.problem((*path, "candidate", "timeout"), message)
    if target.control and target.control.timeout_s >= window_s:
        message = f"is not shorter than pairing.window, {duration_text(window_s)}; shorten it or lengthen the window"
        yield document.problem((*path, "control", "timeout"), message)


def _loops(target: Target, path: KeyPath, config: Config, document: Document) -> Iterator[Problem]:
    """Yield a warning for a candidate or control that is this service itself: every copy would return as a request."""
    listen = config.listen
    own = {getattr(listen, name): name for name in ("metrics", "web", "records", "mirror") if getattr(listen, name)}
    for key, service, side in (("candidate", "v2", target.candidate), ("control", "the second v1", target.control)):
        parts = urlsplit(side.url if side else "")
        name = own.get(parts.port or (443 if parts.scheme == "https" else 80))
        if side and name and _is_local(parts.hostname or "", listen.host):
            message = f"is this service's own {name} port (listen.{name}); name the address of {service}"
            yield document.problem((*path, key, "url"), message, side.url)


def _is_local(host: str, listen_host: str) -> bool:
    """Return whether a host name or address is this machine, without resolving it."""
    if host == "localhost" or host.endswith(".localhost") or host == listen_host.lower():
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _shares(target: Target, path: KeyPath, document: Document) -> Iterator[Problem]:
    if target.sample == 0:
        yield document.problem((*path, "sample"), "is 0, so nothing is compared; write a share such as 0.1")
    if target.control and target.control.sample == 0:
        yield document.problem(
            (*path, "control", "sample"), "is 0, so the control receives no requests; write a share such as 0.05"
        )
    if target.control and target.control.url == target.candidate.url:
        yield document.problem((*path, "control", "url"), "is the candidate's URL; write the URL of a second v1")
    limit = target.candidate.limits.concurrency
    if limit is not None and limit > target.candidate.concurrency:
        message = f"has no effect, because candidate.concurrency is {target.candidate.concurrency}; lower this limit"
        yield document.problem((*path, "candidate", "limits", "concurrency"), message, limit)
    if target.gate.max_mismatch_ratio == 0:
        message = "is 0, so no verdict can pass; write a small ratio such as 0.001"
        yield document.problem((*path, "gate", "max_mismatch_ratio"), message)
    if target.gate.min_coverage == 1:
        message = "is 1, so one request that is not mirrored blocks the gate; write a share such as 0.95"
        yield document.problem((*path, "gate", "min_coverage"), message)


def _hosts(target: Target, path: KeyPath, index: HostIndex[str], document: Document) -> Iterator[Problem]:
    """Yield warnings for hosts whose requests or copies match another target, and for a candidate with such a host."""
    for number, host in enumerate(target.hosts):
        name, port = split_port(host)
        for authority in (host, f"{name}-shadow{port}"):
            other = index.find_text(authority).entry
            if other != target.name:
                message = f"belongs to target {other}, which receives requests for {authority}; list it in one target"
                yield document.problem((*path, "hosts", number), message, host)
                break
    for key, side in (("candidate", target.candidate), ("control", target.control)):
        if side and urlsplit(side.url).netloc.lower() in {host.lower() for host in target.hosts}:
            message = f"is a host of this target, so requests to it reach v1; write the {key}'s own host"
            yield document.problem((*path, key, "url"), message, side.url)


def _methods(each: TargetConfig, path: KeyPath, document: Document) -> Iterator[Problem]:
    """Yield warnings for routes whose method is never forwarded, and for methods that gRPC does not use."""
    target, protobuf, traffic = each.target, each.protobuf, Traffic(each.target)
    if protobuf is not None and not protobuf.answers and "POST" not in map(method_of, target.methods):
        message = "does not include POST, which every gRPC call uses, so no call is compared; see docs/grpc.md"
        yield document.problem((*path, "methods"), message)
    for number, entry in enumerate(target.methods):
        method = method_of(entry)
        if method != entry and method in traffic.methods:
            message = f"adds nothing, because {method} is sent on every route; remove {method} to send this route only"
        elif method != entry and not traffic.allows(*entry.split(" ", 1)):
            message = "is never sent: a more specific route of `routes` matches it, or its path is unclear; correct it"
        else:
            continue
        yield document.problem((*path, "methods", number), message, entry)
    for number, entry in enumerate(target.graphql):
        if not traffic.allows("POST", entry):
            message = "is never sent, because it is unclear; correct it"
            yield document.problem((*path, "graphql", number), message, entry)
    routes: list[tuple[KeyPath, str]] = [(("routes", number), route) for number, route in enumerate(target.routes)]
    for key, route in [*routes, *((("body_types", route), route) for route, _ in target.body_types)]:
        method, _, template = route.rpartition(" ")
        if method and not traffic.allows(method, template):
            message = f"never matches: `methods` does not allow it; add `{route}` if it is safe to repeat"
            yield document.problem((*path, *key), message, route)


def _conditions(target: Target, path: KeyPath, document: Document) -> Iterator[Problem]:
    """Yield warnings for conditions that no compared request meets."""
    methods = set(map(method_of, target.methods))
    for key, conditions in (("include", target.include), ("exclude", target.exclude)):
        for number, condition in enumerate(conditions):
            method = (condition.route or condition.path).rpartition(" ")[0]
            if method and method not in methods:
                message = f"never matches: `methods` does not allow {method}; correct it, or remove it"
            elif key == "include" and condition in target.exclude:
                message = "is also in `exclude`, which has precedence; remove one of them"
            else:
                continue
            yield document.problem((*path, key, number), message, str(condition))
