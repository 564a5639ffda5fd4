"""Check whether requests and records arrive, have a known host, and are accepted."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.evidence import NOTABLE, RejectedExample
from shadowdiff.doctor.finding import (
    NO_TRAFFIC,
    Example,
    Finding,
    Row,
    error,
    join_words,
    percent,
    plural,
    side_by_side,
    warning,
)
from shadowdiff.doctor.registry import general_check, target_check
from shadowdiff.model import HostPolicy, Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, TargetEvidence


TOKENLESS: Final = "no valid token of access.records in a record from "
"""The intake reports a missing token with this text, followed by the address."""
_SHOWN: Final = 3
_ROUTES: Final = 10
_ALIKE: Final = 0.6
_NO_EXAMPLE: Final = RejectedExample("–", 0, "–")


@target_check(20)
def nothing_arrives(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target that receives neither requests nor records."""
    if target.mirrored or target.recorded or target.count("mirrored.in_flight"):
        return
    host = next(iter(target.config.hosts), target.name).replace("*", "www")
    yield error(
        code="nothing_arrives",
        title=f"Nothing has arrived for {target.name}: no mirrored request and no record.",
        explanation="Pairs form only when the mesh mirrors requests and v1's responses are recorded.",
        fix="Mirror this target's requests to port 8080 and record v1's responses at port 8081. To try it manually:",
        lines=(
            f"curl -H 'Host: {host}' -H 'x-request-id: try-1' http://127.0.0.1:8080/",
            "curl -X POST http://127.0.0.1:8081/record -d hello -H 'x-shadowdiff-id: try-1' \\",
            f"  -H 'x-shadowdiff-host: {host}' -H 'x-shadowdiff-method: GET' -H 'x-shadowdiff-path: /' \\",
            "  -H 'x-shadowdiff-id-source: x-request-id' -H 'x-shadowdiff-status: 200'",
        ),
    )


@target_check(40)
def one_half_missing(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target that receives only requests, or only records."""
    if target.mirrored and not target.recorded:
        yield error(
            code="mirrors_without_records",
            title=f"{plural(target.mirrored, 'request')} mirrored, but no v1 response was recorded.",
            explanation="v2 receives the requests, but there is no v1 response to compare its responses with.",
            fix="Put the recorder (recorder/envoy/record.lua) into v1's proxy, or the middleware into v1. If the "
            "recorder is already there, point its cluster to port 8081, and let no Sidecar or NetworkPolicy block it.",
            examples=tuple(side_by_side(None, half) for half in target.side(Side.CANDIDATE)[:1]),
        )
    if target.recorded and not target.mirrored:
        yield error(
            code="records_without_mirrors",
            title=f"{plural(target.recorded, 'v1 response')} recorded, but no request was mirrored.",
            explanation="v2 receives no requests, so there is nothing to compare v1's responses with.",
            fix="Mirror all requests to port 8080: `request_mirror_policies` of the route in Envoy, `mirrors` of the "
            "VirtualService in Istio. The mirrored copy must keep its Host header.",
            examples=tuple(side_by_side(half, None) for half in target.side(Side.PRIMARY)[:1]),
        )


@target_check(50, explains={"no_id": ("mirrors_without_records", "sampling_disagrees", "nothing_in_common")})
def unidentified(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find mirrored requests without an id."""
    count, share = _share(target, "mirrored", "unidentified")
    if share < NOTABLE:
        return
    primary = next(iter(target.side(Side.PRIMARY)), None)
    yield (error if share > 1 - NOTABLE else warning)(
        code="no_id",
        title=f"{plural(count, 'mirrored request')} ({percent(share)}) without an id.",
        explanation="The halves of a request are paired by an id in one of these headers: "
        f"{join_words(evidence.id_headers)}. These requests have none of them.",
        fix="Let the mesh set a new id on the mirrored route, before v1's recorder sees the request:",
        lines=(
            "request_headers_to_add:",
            '  - header: { key: x-diff-id, value: "%UNIQUE_ID%" }',
            "    append_action: OVERWRITE_IF_EXISTS_OR_ADD",
        ),
        examples=tuple(
            Example(
                rows=(
                    Row("id headers", f"{primary.id_source}: {primary.id}" if primary else "–", "none of them"),
                    Row("host", primary.host if primary else "–", example.what),
                    Row("path", primary.path if primary else "–", example.last_path),
                )
            )
            for example in evidence.examples("unidentified")[:1]
        ),
    )


@target_check(60, explains={"methods_blocked": ("mirrors_without_records",)})
def blocked(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target that does not forward any of the methods that it receives."""
    count, share = _share(target, "mirrored", "blocked")
    if not count or target.count("mirrored.forwarded") or share < 1 - NOTABLE:
        return
    seen: list[tuple[str, str]] = []
    for example in evidence.examples("blocked"):
        method, _, host = example.what.partition(" ")
        if host in target.config.hosts or resembles(host, target):
            seen.append((method, example.last_path))
    methods, allowed = sorted({method for method, _ in seen}), target.config.methods
    routes = list(target.by_route("mirrored.blocked")) or [f"{method} {path}" for method, path in seen]
    added = ", ".join(f'"{route}"' for route in routes[:_ROUTES])
    yield error(
        code="methods_blocked",
        title=f"All of {plural(count, 'mirrored request')} have a method that is not forwarded"
        + (f": {', '.join(methods)}." if methods else "."),
        explanation="Shadow traffic must not change anything. Unless the target lists other methods, only "
        f"{join_words(allowed)} go to v2.",
        fix="If a second copy of these requests is harmless, allow their routes one by one"
        + (f" (the most frequent {_ROUTES} of {len(routes)}):" if len(routes) > _ROUTES else ":"),
        lines=("targets:", f"  - name: {target.name}", f"    methods: [{', '.join(allowed)}, {added}]"),
        examples=tuple(
            Example(primary="forwarded", rows=(Row("method", " ".join(allowed), method), Row("path", "–", path)))
            for method, path in seen[:1]
        ),
    )


@target_check(70, explains={"records_refused": ("records_missing", "sampling_disagrees", "mirrors_without_records")})
def refused(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find records that were rejected as malformed."""
    count, share = _share(target, "recorded", "refused")
    if share < NOTABLE:
        return
    reasons = evidence.examples("refused")
    yield (error if share > 1 - NOTABLE else warning)(
        code="records_refused",
        title=f"{plural(count, 'record')} ({percent(share)}) rejected as malformed.",
        explanation="The recorder got " + (f"this error: {reasons[0].what}" if reasons else "a 4xx with the error."),
        fix="Use the recorder of this version (record.lua, or the middleware), or fix what the error reports.",
        examples=tuple(
            Example(primary="record", candidate="error", rows=(Row("record", example.last_path, example.what),))
            for example in reasons[:1]
        ),
    )


@target_check(80, explains={"overloaded": ("sampling_disagrees", "records_missing")})
def shed(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a service that sheds load, or whose store rejects writes."""
    for row, what in (("mirrored", "mirrored requests"), ("recorded", "records")):
        shed_count, store_lost = target.count(f"{row}.shed"), target.count(f"{row}.store_lost")
        count = shed_count + store_lost
        share = count / max(1, target.count(f"{row}.received"))
        if share < NOTABLE:
            continue
        yield (error if share > 1 - NOTABLE else warning)(
            code="overloaded",
            title=f"{count:,} {what} ({percent(share)}) were shed.",
            explanation=f"{shed_count:,} exceeded a limit, {store_lost:,} were not accepted by the store. Their other "
            "halves find no partner.",
            fix=("Raise `candidate.limits` if it is the reason. " if _is_limited(target) else "")
            + "Run more pods, or set a lower `sample` in shadowdiff and in the recorder. Check the store and the "
            "reasons in shadowdiff_shed_total.",
        )


def _is_limited(target: TargetEvidence) -> bool:
    limits = target.config.candidate.limits
    return limits.rate is not None or limits.concurrency is not None


@target_check(30, explains={"answers_as_v1": ("mirrors_without_records",)})
def loops(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find mirrored requests that this service itself sent to v2, because the mesh also mirrors these requests."""
    looped, received = target.count("mirrored.looped"), target.count("mirrored.received")
    if not looped:
        return
    config = target.config
    authority = config.candidate.url.partition("://")[2].partition("/")[0]
    preserves = config.candidate.host is HostPolicy.PRESERVE
    leads_back = preserves or any(same_host(authority, host) for host in config.hosts)
    if not (leads_back and looped >= target.count("mirrored.forwarded") / 2) and looped < received * (1 - NOTABLE):
        return
    sent_host = next(iter(config.hosts), target.name) if preserves else authority
    rows = Row("host", join_words(config.hosts), sent_host), Row("url", "–", config.candidate.url)
    came_back = (Row("came back", "–", f"{one.what}{one.last_path}") for one in evidence.examples("looped")[:1])
    yield error(
        code="answers_as_v1",
        title=f"{plural(looped, 'request')} sent to v2 came back as mirrored requests: v1 answers in v2's place.",
        explanation=f"Requests to {config.candidate.url} carry `x-shadowdiff`, and mirrored requests arrive with that "
        "header. So the route to v2 leads into the mirrored route, and to v1"
        + (", because a sidecar routes by v1's host (`candidate.host: preserve`)." if preserves else "."),
        fix="Set `candidate.host: candidate` (v2 gets X-Forwarded-Host)."
        if preserves
        else "Set `candidate.url` to a service that selects only v2's pods.",
        examples=(Example(primary="mirrored", candidate="sent to v2", rows=(*rows, *came_back)),),
    )


@general_check(
    60, explains={"records_without_token": ("mirrors_without_records", "records_missing", "sampling_disagrees")}
)
def without_token(evidence: Evidence) -> Iterator[Finding]:
    """Find records without a valid token; their target is unknown."""
    seen = [example for example in evidence.examples("refused") if example.what.startswith(TOKENLESS)]
    if not seen or not evidence.unknown.get("recorded.refused", 0):
        return
    yield (warning if all(target.recorded for target in evidence.targets) else error)(
        code="records_without_token",
        title=f"{plural(sum(example.count for example in seen), 'record')} rejected without a valid token.",
        explanation="`access.records` requires a token with each record. These records have none, or a wrong one.",
        fix="Give each recorder a token from `access.records`. Both recorders have a setting for the token.",
        examples=tuple(
            Example(rows=(Row("from", one.what.removeprefix(TOKENLESS), "–"), Row("path", one.last_path, "–")))
            for one in seen[:_SHOWN]
        ),
    )


@target_check(90)
def recorded_for_v2(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find recorded v2 responses although this service itself calls v2, because clients can forge both halves."""
    forwarded = target.count("mirrored.forwarded")
    recorded = target.count("candidate.parked") - forwarded
    if not forwarded or recorded <= 0:
        return
    yield warning(
        code="candidate_recorded",
        title=f"{plural(recorded, 'v2 response')} came from a recorder, and {forwarded:,} from this service.",
        explanation="A client that may record `side: candidate` can forge both halves of a pair. Such pairs match, and "
        "hide real mismatches.",
        fix="If you want a recorder at v2, mirror to v2 instead of to shadowdiff. Otherwise require a token or a "
        "certificate from recorders, and start a new run:",
        lines=("access: {records: [SHADOWDIFF_RECORDS_TOKEN]}",),
    )


def _share(target: TargetEvidence, row: str, what: str) -> tuple[int, float]:
    """Return how many items of a row had this outcome, and their share of all items of the row."""
    count = target.count(f"{row}.{what}")
    return count, count / max(1, target.count(f"{row}.received"))


@general_check(50, explains={"unknown_host": NO_TRAFFIC})
def unknown_hosts(evidence: Evidence) -> Iterator[Finding]:
    """Find hosts of requests or records that no target has."""
    known = [host for target in evidence.targets for host in target.config.hosts]
    mirrored = _unknown(evidence, "mirrored", known)
    recorded = _unknown(evidence, "recorded", known)
    hosts = list(dict.fromkeys(example.what for example in (*mirrored, *recorded)))
    if not hosts:
        return
    target = next((one for host in hosts for one in evidence.targets if resembles(host, one)), None)
    counts = " and ".join(
        f"{plural(_arrived(evidence, side), 'request')} {side}"
        for side, examples in (("mirrored", mirrored), ("recorded", recorded))
        if examples
    )
    yield (warning if target and target.mirrored and target.recorded else error)(
        code="unknown_host",
        target=target.name if target else "",
        title=f"No target has the host {join_words(hosts)}: {counts} for hosts that are not configured.",
        explanation="A request belongs to the target whose `hosts` contain its Host header; Envoy's `-shadow` and the "
        f"port are ignored. Configured: {join_words(known) or 'none'}.",
        fix="If you want to compare this host, add it to a target and reload. Otherwise do not mirror its routes.",
        lines=_hosts_yaml(target, hosts) if target else (),
        examples=tuple(
            Example(rows=(Row("host", ours.what, theirs.what), Row("path", ours.last_path, theirs.last_path)))
            for ours, theirs in islice(zip_longest(recorded, mirrored, fillvalue=_NO_EXAMPLE), min(_SHOWN, len(hosts)))
        ),
    )


def _unknown(evidence: Evidence, side: str, known: Sequence[str]) -> list[RejectedExample]:
    """Return the unknown hosts of one side; empty if nothing arrived recently for unknown hosts."""
    if _arrived(evidence, side) <= 0:
        return []
    return [example for example in evidence.examples(f"unknown_{side}") if example.what not in known]


def _arrived(evidence: Evidence, side: str) -> int:
    """Return how many items arrived for unknown hosts, except malformed records, whose host may be unreadable."""
    return evidence.unknown.get(f"{side}.received", 0) - evidence.unknown.get(f"{side}.refused", 0)


def resembles(host: str, target: TargetEvidence) -> bool:
    """Return whether a host looks like another name for a target's host."""
    theirs = _without_port(host).lower()
    return any(
        ours.split(".")[0] == theirs.split(".")[0] or SequenceMatcher(None, ours, theirs).ratio() >= _ALIKE
        for ours in (_without_port(known).lower() for known in target.config.hosts)
    )


def same_host(authority: str, host: str) -> bool:
    """Return whether two authorities are equal; ports are compared only if both authorities have a port."""
    if ":" in authority and ":" in host:
        return authority.lower() == host.lower()
    return _without_port(authority).lower() == _without_port(host).lower()


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _hosts_yaml(target: TargetEvidence, hosts: Sequence[str]) -> tuple[str, ...]:
    new = [host for host in map(_without_port, hosts) if host and resembles(host, target)]
    every = list(dict.fromkeys([*target.config.hosts, *new]))
    return ("targets:", f"  - name: {target.name}", f"    hosts: [{', '.join(every)}]")
