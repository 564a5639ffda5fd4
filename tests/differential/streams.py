"""Draw streams of events under `join` rules, and decide by trying each choice of rules whether rules cover them."""

from __future__ import annotations

import json
from itertools import compress, product
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from tests.differential import paths
from tests.differential.encode import Encoded, sequence
from tests.differential.generate import Case
from tests.differential.reference import Reference, Response, freeze

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from tests.differential.paths import Place, Query

Rules = list[dict[str, Any]]
Events = list[Any]
_EVENT_STREAM: Final = "text/event-stream"
_KINDS: Final = (_EVENT_STREAM, _EVENT_STREAM, "application/x-ndjson", "application/json-seq")
_TEXTS: Final = ("", "a", "ab", "aab", "Ab 1", "b 2", "1")
_JOINS: Final[Rules] = [
    {"join": "$[*].t"},
    {"join": {"path": "$[*].t", "except": ["n"]}},
    {"join": {"path": "$[*]..t", "except": ["n"]}},
    {"join": {"path": "$[*].m.t", "except": ["$.m.n", "n"]}},
    {"join": "$[*].m.t"},
]
_OTHERS: Final[Rules] = [
    {"ignore": "$[*].n"},
    {"ignore": "$..n"},
    {"mask": {"path": "$[*].t", "pattern": "\\d"}},
    {"equivalent": {"path": "$[*]..t", "as": ["case"]}},
    {"equivalent": {"path": "$[*].n", "as": ["null", "missing"]}},
    {"unordered": "$"},
    {"subset": "$"},
    {"schema": "$"},
    {"tolerance": {"path": "$[*].n", "abs": 1}},
    {"ignore": "$[0]"},
]


class Stream(NamedTuple):
    """The events of both sides, and rules."""

    one: Events
    other: Events
    rules: Rules


def drawn(random: Random) -> Stream:
    """Return two streams whose texts are often equal, but divided into other chunks."""
    parts = [(random.choice("xy"), random.choice(_TEXTS)) for _ in range(random.randint(0, 3))]
    parts_other = list(parts)
    if parts and random.random() < 0.3:
        at = random.randrange(len(parts))
        parts_other[at] = random.choice("xy"), random.choice(_TEXTS)
    if random.random() < 0.1:
        random.shuffle(parts_other)
    rules = random.sample(_JOINS, random.choice([0, 1, 1, 1, 2])) + random.sample(_OTHERS, random.choice([0, 1, 1, 2]))
    random.shuffle(rules)
    shape = random.randrange(4)
    return Stream(_events(random, parts, shape), _events(random, parts_other, shape), rules)


def _events(random: Random, parts: list[tuple[str, str]], shape: int) -> Events:
    counts = random.random() < 0.5
    chunks = [(role, chunk) for role, text in parts for chunk in _chunks(random, text)]
    return [_event(role, chunk, number if counts else 1, shape) for number, (role, chunk) in enumerate(chunks)]


def _chunks(random: Random, text: str) -> Iterator[str]:
    cuts = sorted(random.randint(0, len(text)) for _ in range(random.choice([0, 0, 1, 2])))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        yield text[start:end]


def _event(role: str, text: str, number: int, shape: int) -> Any:
    inner: dict[str, Any] = {"r": role, "t": text, "n": number}
    return [inner, inner, {"m": inner, "n": number}, {**inner, "m": {"t": text}}][shape]


def encoded(random: Random, stream: Stream) -> Encoded:
    """Return both bodies, and rules whose paths fit these bodies."""
    kind = random.choice(_KINDS)
    write = _server_sent if kind == _EVENT_STREAM else sequence
    rules = stream.rules
    if kind == _EVENT_STREAM:
        rules = [{name: _in_data(name, options) for name, options in rule.items()} for rule in rules]
    sides = [Response(200, {}, "application/json", json.dumps(events)) for events in (stream.one, stream.other)]
    bodies = [write(random, events, kind) for events in (stream.one, stream.other)]
    return Encoded(Case(sides[0], sides[1], rules), kind, bodies, rules)


def _server_sent(random: Random, events: Events, _: str) -> bytes:
    texts = sequence(random, events, "application/x-ndjson").decode().splitlines()
    end = random.choice(["\n", "\r\n"])
    return "".join(f"{random.choice(['', ': note' + end])}data: {text.strip()}{end}{end}" for text in texts).encode()


def _in_data(kind: str, options: Any) -> Any:
    if isinstance(options, str):
        event, bracket, rest = options.partition("]")
        return f"{event}].data{rest}" if bracket and (rest or kind == "join") else options
    stated = {**cast("dict[str, Any]", options), "path": _in_data(kind, options["path"])}
    if "except" in stated:
        stated["except"] = [f"$.data.{name.removeprefix('$.')}" for name in stated["except"]]
    return stated


def expected(stream: Stream, *, strict: bool) -> str:
    """Return `match`, `ignored` or `mismatch`."""
    one, other, rules = stream
    if freeze(one) == freeze(other):
        return "match"
    reference = Reference(rules, strict=strict)
    joins = [rule["join"] for rule in rules if "join" in rule]
    for chosen in product((False, True), repeat=len(joins) if one and other else 0):
        used = [_options(each) for each in compress(joins, chosen)]
        if reference.covers(freeze(joined(one, used)), freeze(joined(other, used)), ()):
            return "ignored"
    return "mismatch"


def _options(join: Any) -> dict[str, Any]:
    return {"path": join} if isinstance(join, str) else join


def joined(events: Events, joins: Sequence[dict[str, Any]]) -> Events:
    """Return the events in which neighbors that differ only in joined texts and excepted members are one event."""
    queries = [paths.parse(join["path"]) for join in joins]
    excepted = [name.removeprefix("$.").split(".") for join in joins for name in join.get("except", [])]
    runs: list[tuple[Any, Any, dict[Place, str]]] = []
    for at, event in enumerate(events):
        start: Place = ((at, len(events)),)
        texts = {place[1:]: text for place, text in _texts(event, start) if any(_selected(queries, place))}
        bare = freeze(_bare(event, (), texts, excepted))
        if texts and runs and runs[-1][1] == bare and runs[-1][2].keys() == texts.keys():
            runs[-1][2].update({place: runs[-1][2][place] + text for place, text in texts.items()})
        else:
            runs.append((event, bare, texts))
    return [_placed(event, (), texts) for event, _, texts in runs]


def _selected(queries: list[Query], place: Place) -> Iterator[bool]:
    return (paths.selects(query, place) for query in queries)


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, below in cast("dict[str, Any]", value).items():
            yield from _texts(below, (*place, name))


def _bare(value: Any, place: Place, texts: dict[Place, str], excepted: list[list[str]]) -> Any:
    if place in texts:
        return ""
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value).items()
    return {
        name: _bare(below, (*place, name), texts, excepted) for name, below in members if [*place, name] not in excepted
    }


def _placed(value: Any, place: Place, texts: dict[Place, str]) -> Any:
    if place in texts:
        return texts[place]
    if not isinstance(value, dict):
        return value
    return {name: _placed(below, (*place, name), texts) for name, below in cast("dict[str, Any]", value).items()}
