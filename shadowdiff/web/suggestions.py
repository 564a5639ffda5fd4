"""Rules to think about: places whose two values are always of one volatile class, and what a rule would hide there.

In: a target's newest samples and its counts.  Out: `Suggestion` values, the most frequent first.
Holds: nothing is applied; each proposed rule covers the class alone (a mask of what a UUID looks like, a tolerance of
ten minutes), so that a value of another class still counts, and comes with what it would do to the samples.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.model import Kind
from shadowdiff.report import newest_samples, whole_samples
from shadowdiff.rules import RuleError, compile_rules, parse_rules
from shadowdiff.verdict import read_counts
from shadowdiff.verdict.change import VOLATILE, value_class
from shadowdiff.web.asked import known
from shadowdiff.web.operation import Arguments, Operation, Parameter
from shadowdiff.web.preview import Hidden, preview
from shadowdiff.web.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from shadowdiff.model import Difference
    from shadowdiff.report import Sample
    from shadowdiff.rules import Rule
    from shadowdiff.web.state import TargetView, WebState

LOOKED_AT: Final = 200
LEAST_SAMPLES: Final = 5
MOST: Final = 20
_MASKS: Final = {
    "uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "hex": r"^[0-9a-fA-F]{8,}$",
    "token": r"^[A-Za-z0-9_+=~.-]{16,}$",
    "pod": r"^[a-z][a-z0-9-]*-[a-z0-9]{8,10}-[a-z0-9]{5}$",
}
_WORDS: Final = {
    "uuid": "a UUID",
    "hex": "a hexadecimal id",
    "token": "a random token",
    "pod": "the name of a pod",
    "now": "a time near now",
    "counter": "a counter",
}


class OtherKind(msgspec.Struct, frozen=True, kw_only=True):
    """How else answers differ at the same path, and in how many pairs; the rule leaves that as it is."""

    kind: str
    pairs: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A rule to think about.

    volatile: the class of both values.  samples: in how many of those looked at the place differs, always so.
    pairs: in how many pairs, ever.  vanish: samples that would not count any more.  hides: other places that the rule
    would cover as well.  beside: what the rule would not hide there.  example: a sample to look at.
    """

    route: str
    path: str
    volatile: str
    why: str
    rule: dict[str, Any]
    samples: int
    pairs: int
    vanish: int
    hides: list[Hidden]
    beside: list[OtherKind]
    example: str


class Suggestions(msgspec.Struct, frozen=True):
    """What may be declared, the most frequent first; `samples` were looked at."""

    samples: int
    suggestions: list[Suggestion]


_Found = list[tuple["Sample", "Difference"]]


async def get_suggestions(state: WebState, arguments: Arguments, _request: Request) -> Suggestions:
    """Answer rules to think about."""
    return await suggestions_for(state, arguments["target"])


async def suggestions_for(state: WebState, target: str) -> Suggestions:
    """Return rules to think about. Raises: ApiError where no target is called so."""
    view = known(state, target)
    name = view.target.name
    lines = await newest_samples(state.reader, name, LOOKED_AT, since_ms=state.since_ms)
    samples = await whole_samples(state.reader, [line.id for line in lines], since_ms=state.since_ms)
    counts = await read_counts(state.reader, name, state.fold(name))
    pairs = {(r.route, path.path, path.kind): path.count for r in counts.routes for path in r.paths}
    async with state.previews:
        found = await asyncio.to_thread(_suggested, state, view, samples, pairs)
    return Suggestions(len(samples), found)


def _suggested(
    state: WebState, view: TargetView, samples: Sequence[Sample], pairs: dict[tuple[str, str, str], int]
) -> list[Suggestion]:
    places: defaultdict[tuple[str, str], _Found] = defaultdict(list)
    for one in samples:
        for found in one.differences:
            if found.rule is None:
                places[one.route, found.pattern].append((one, found))
    chosen = [
        (route, path, volatile, those)
        for (route, path), those in places.items()
        if len({one.id for one, _ in those}) >= LEAST_SAMPLES and (volatile := volatile_class(those))
    ]
    chosen.sort(key=lambda one: (-len(one[3]), one[0], one[1]))
    now = datetime.fromtimestamp(state.now_ms() / 1000, UTC)
    in_force = rules_of(state, view)
    made = [_suggestion(samples, in_force, pairs, now, one) for one in chosen[:MOST]]
    return [one for one in made if one is not None]


def volatile_class(those: _Found) -> str | None:
    """Return the one volatile class that both values always have; None where there is none."""
    values = [(one.at_ms, found.primary, found.candidate) for one, found in those if found.kind in _KINDS]
    if len(values) < len(those) or any(primary is None or candidate is None for _, primary, candidate in values):
        return None
    classes = {value_class(value or "", at_ms) for at_ms, *sides in values for value in sides}
    if len(classes) == 1 and classes <= VOLATILE:
        return classes.pop()
    return "counter" if classes == {"number"} and _counts_up(values) else None


_KINDS: Final = frozenset({Kind.VALUE, Kind.HEADER})


def _counts_up(values: Sequence[tuple[int, str | None, str | None]]) -> bool:
    """Return whether both sides' whole numbers never fall as time passes, and mostly rise."""
    in_time = sorted(values, key=lambda value: value[0])
    for side in (1, 2):
        said = [str(value[side]) for value in in_time]
        if not all(one.isdecimal() for one in said):
            return False
        numbers = [int(one) for one in said]
        if numbers != sorted(numbers) or 2 * len(set(numbers)) < len(numbers):
            return False
    return True


def _rule(route: str, path: str, volatile: str) -> dict[str, Any]:
    reason = f"{_WORDS[volatile]}, made anew with each answer"
    place = {"routes": [route], "reason": reason}
    if volatile == "now":
        return {"tolerance": {"path": path, "time": "10m"}, **place}
    if volatile == "counter":
        return {"schema": path, **place}
    return {"mask": {"path": path, "pattern": _MASKS[volatile]}, **place}


def _suggestion(
    samples: Sequence[Sample],
    in_force: tuple[Rule, ...],
    pairs: dict[tuple[str, str, str], int],
    now: datetime,
    one: tuple[str, str, str, _Found],
) -> Suggestion | None:
    route, path, volatile, those = one
    rule = _rule(route, path, volatile)
    try:
        tried = compile_rules((*in_force, *parse_rules([rule])), now)
    except RuleError:  # such as a path in text that rules cannot name
        return None
    shown = preview("", samples, tried)
    covers = any(hidden.route == route and hidden.place.path == path for hidden in shown.hidden)
    if not covers:
        return None
    kind = str(those[0][1].kind)
    return Suggestion(
        route=route,
        path=path,
        volatile=volatile,
        why=f"both values are always {_WORDS[volatile]}",
        rule=rule,
        samples=len({found.id for found, _ in those}),
        pairs=pairs.get((route, path, kind), 0),
        vanish=shown.changed,
        hides=[hidden for hidden in shown.hidden if (hidden.route, hidden.place.path) != (route, path)],
        beside=[
            OtherKind(kind=other, pairs=count)
            for (of_route, at, other), count in sorted(pairs.items())
            if (of_route, at) == (route, path) and other != kind
        ],
        example=those[0][0].id,
    )


SUGGESTIONS: Final = Operation(
    path="/suggestions",
    name="suggestions",
    summary="Rules to think about: places whose values are always made anew, and what each rule would hide",
    handler=get_suggestions,
    answer=Suggestions,
    parameters=(Parameter(name="target", description="the name of a configured target", required=True),),
    refuses={400: "An argument is missing", 404: "No such target"},
)
