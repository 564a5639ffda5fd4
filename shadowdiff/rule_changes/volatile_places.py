"""Find places whose values are new in each response, with the narrowest rule for each.

Pure. A place is judged by its samples on all routes together. If their values have no common class, each route is
judged alone. A name such as `query_ms` is enough for a duration whose values vary; other values count as new only if v1
itself sends another value each time for the same request.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shadowdiff.model import Kind
from shadowdiff.rule_changes.echoed_headers import is_echoed_header
from shadowdiff.rule_changes.text_numbers import numbers_in_text
from shadowdiff.rules.place import query_of
from shadowdiff.verdict.value_class import VOLATILE, value_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.model import Difference
    from shadowdiff.report import Sample

Found = list[tuple["Sample", "Difference"]]
_Values = list[tuple[int, str | None, str | None]]
MIN_SAMPLES: Final = 5
MIN_ECHOES: Final = 2
"""The name of an echoed header proves its cause, so few samples are enough."""
MAX_ROUTES: Final = 20
"""A rule for a place on more routes applies to all routes."""
_MIN_REPEATS: Final = 3
_MASKS: Final = {
    "uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "hex": r"^[0-9a-fA-F]{8,}$",
    "token": r"^[A-Za-z0-9_+=~.-]{16,}$",
    "pod": r"^[a-z][a-z0-9-]*-[a-z0-9]{8,10}-[a-z0-9]{5}$",
    "address": r"^[0-9a-fA-F.:, ]+$",
    "duration": r"^[0-9.]+ ?(?:ns|us|µs|ms|s|sec|secs|seconds?)$",
    "number": r"^[0-9.]+$",
}
_REASONS: Final = {
    "uuid": "both values are always a UUID",
    "hex": "both values are always a hexadecimal id",
    "token": "both values are always a random token",
    "pod": "both values are always a pod name",
    "now": "both values are always the current time",
    "counter": "both values are always a counter",
    "address": "both values are always the address of a client or an instance",
    "duration": "both values are always a duration",
    "size": "both values are a size, and v1 sends another one each time for the same request",
    "new": "v1 sends another value each time for the same request",
    "echo": "the response repeats a request header that differs because the request is mirrored",
}
_KINDS: Final = frozenset({Kind.VALUE, Kind.HEADER})
_LAST_NAME: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\](?:\[[^'\]]*\])*$")
_HUMPS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DURATION_NAMES: Final = frozenset({
    "duration", "elapsed", "latency", "micros", "millis", "milliseconds", "ms", "msec", "nanos", "ns", "runtime",
    "seconds", "secs", "time", "timing", "took", "uptime", "us",
})  # fmt: skip
_SIZE_NAMES: Final = frozenset({"allocated", "bytes", "heap", "kb", "length", "mb", "memory", "rss", "size"})
_ADDRESS: Final = re.compile(
    r'"?(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?=[^"]*:[^"]*:)[0-9a-fA-F:]{3,39})(?:, ?[0-9a-fA-F.:]{3,39})*"?'
)
_TIMED: Final = re.compile(r'"?[0-9]+(?:\.[0-9]+)? ?(?:ns|us|µs|ms|s|sec|secs|seconds?)"?')


class VolatilePlace(NamedTuple):
    """A place, the class of its values, and the rule.  samples: the samples that differ there."""

    routes: tuple[str, ...]
    path: str
    kind: Kind
    value_class: str
    reason: str
    rule: dict[str, Any]
    samples: Found


def volatile_places(samples: Sequence[Sample]) -> list[VolatilePlace]:
    """Return the places whose values are new in each response, those with most samples first."""
    places: defaultdict[str, Found] = defaultdict(list)
    for one in samples:
        for found in one.differences:
            if found.rule is None:
                places[found.pattern].append((one, found))
    chosen = [place for pattern, group in places.items() for place in _of_place(pattern, group)]
    chosen += [
        _place("text", "duration" if number.is_duration else "size", group, number.rule)
        for number, group in numbers_in_text(samples).items()
        if _samples(group) >= MIN_SAMPLES
    ]
    return sorted(chosen, key=lambda place: (-len(place.samples), place.routes, place.path))


def _of_place(pattern: str, group: Found) -> Iterator[VolatilePlace]:
    by_route: defaultdict[str, Found] = defaultdict(list)
    for one in group:
        by_route[one[0].route].append(one)
    for some in (group,) if len(by_route) == 1 else (group, *by_route.values()):
        found = volatile_class(some)
        if found is not None and _samples(some) >= (MIN_ECHOES if found == "echo" else MIN_SAMPLES):
            yield _place(pattern, found, some, _rule(query_of(pattern), found, some))
            if some is group:
                return


def volatile_class(group: Found) -> str | None:
    """Return the class that all values at a place have; None if there is no such class."""
    if all(is_echoed_header(sample, found) for sample, found in group):
        return "echo"
    values = [(one.at_ms, found.primary, found.candidate) for one, found in group if found.kind in _KINDS]
    if len(values) < len(group) or any(primary is None or candidate is None for _, primary, candidate in values):
        return None
    return _form_class(values) or _changing_class(group, values)


def _form_class(values: _Values) -> str | None:
    """Return the class that the form of each value shows."""
    classes = {value_class(side or "", at_ms) for at_ms, *both in values for side in both}
    if len(classes) == 1 and classes <= VOLATILE:
        return classes.pop()
    return "address" if all(_ADDRESS.fullmatch(side or "") for _, *both in values for side in both) else None


def _changing_class(group: Found, values: _Values) -> str | None:
    """Return the class of values that change between responses to the same request."""
    ours, theirs = (
        {value_class(str(value[side]), value[0]).removeprefix("longer ") for value in values} for side in (1, 2)
    )
    repeats = _repeats(group)
    if (repeats and 2 * sum(repeats) < len(repeats)) or not theirs <= ours:
        return None  # v1 sends the same value for the same request, or v2 sends a value of a class that v1 never sends
    sides = [str(side) for _, *both in values for side in both]
    if all(map(_TIMED.fullmatch, sides)):
        return "duration"
    is_new = len(repeats) >= _MIN_REPEATS and all(repeats)
    if ours <= {"number", "zero"}:
        return _numeric_class(group, values, is_new=is_new)
    return "new" if is_new and _one_type(sides) and not _is_derived(values) else None


def _numeric_class(group: Found, values: _Values, *, is_new: bool) -> str | None:
    words = _words(group[0][1].pattern)
    if _counts_up(values):
        return "counter"
    if not _vary_freely(values):
        return None
    if words & _DURATION_NAMES:
        return "duration"
    named = "size" if words & _SIZE_NAMES else "new"
    return named if is_new else None


def _repeats(group: Found) -> list[bool]:
    """Return for each repeated request whether v1's value, and v2's value, is another one than before."""
    by_request: defaultdict[tuple[str, str, str], Found] = defaultdict(list)
    for one in sorted(group, key=lambda one: one[0].at_ms):
        by_request[one[0].method, one[0].path, one[1].path].append(one)
    return [
        one[1].primary != other[1].primary and one[1].candidate != other[1].candidate
        for repeated in by_request.values()
        for one, other in pairwise(repeated)
        if one[0].id != other[0].id
    ]


def _vary_freely(values: _Values) -> bool:
    """Return whether neither side is constant, and v2's number does not follow from v1's."""
    pairs = [(float(primary or 0), float(candidate or 0)) for _, primary, candidate in values]
    few = len(pairs) // 3
    ratios = {round(other / one, 9) for one, other in pairs if one}
    offsets = {round(other - one, 9) for one, other in pairs}
    return all(len(side) > few for side in ({one for one, _ in pairs}, {other for _, other in pairs}, ratios, offsets))


def _counts_up(values: _Values) -> bool:
    """Return whether the integers of both sides never decrease over time, and mostly increase."""
    for side in (1, 2):
        texts = [str(value[side]) for value in sorted(values, key=lambda value: value[0])]
        numbers = [int(one) for one in texts if one.isdecimal()]
        if len(numbers) < len(texts) or numbers != sorted(numbers) or 2 * len(set(numbers)) < len(numbers):
            return False
    return True


def _is_derived(values: _Values) -> bool:
    """Return whether each text of v2 contains v1's text or the reverse, in any case."""
    texts = [((one or "").strip('"').lower(), (other or "").strip('"').lower()) for _, one, other in values]
    return all(one in other or other in one for one, other in texts)


def _one_type(sides: Sequence[str]) -> bool:
    return len({side[:1] if side[:1] in '"[{' else "other" for side in sides}) == 1


def _words(pattern: str) -> set[str]:
    named = _LAST_NAME.search(pattern)
    name = named[1] if named else pattern.partition("header.")[2]
    return {word.lower() for word in _HUMPS.findall(name)}


def _samples(group: Found) -> int:
    return len({sample.id for sample, _ in group})


def _place(path: str, found: str, group: Found, rule: dict[str, Any]) -> VolatilePlace:
    routes = tuple(sorted({sample.route for sample, _ in group}))
    limits: dict[str, Any] = {"routes": list(routes)} if len(routes) <= MAX_ROUTES else {}
    return VolatilePlace(
        routes, path, group[0][1].kind, found, _REASONS[found], {**rule, **limits, "reason": _REASONS[found]}, group
    )


def _rule(path: str, found: str, group: Found) -> dict[str, Any]:
    is_header = path.startswith("header.")
    if found == "now":
        return {"tolerance": {"path": path, "time": "10m"}}
    if found == "echo" or (found == "new" and is_header):
        return {"ignore": path}
    if found in {"duration", "size", "counter"} and is_header:
        timed = _TIMED.fullmatch(group[0][1].primary or "")
        return {"mask": {"path": path, "pattern": _MASKS["duration" if timed else "number"]}}
    if found in _MASKS and (found != "duration" or _TIMED.fullmatch(group[0][1].primary or "")):
        return {"mask": {"path": path, "pattern": _MASKS[found]}}
    return {"schema": path}
