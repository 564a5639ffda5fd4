"""Mutants of the comparison: faults that an engine like this one has had somewhere, each killed by a golden case."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault: in `file`, `old` (which stands there once) becomes `new`; `killer` is a case that must then fail."""

    name: str
    file: str
    old: str
    new: str
    killer: str


MUTANTS = [
    Mutant(
        "kinds of equal values are not proved",
        "compare/proof.py",
        "        return orjson.dumps(one, stand_in, _SORTED) == orjson.dumps(other, stand_in, _SORTED)",
        "        return True",
        "kind-inside-equal-object",
    ),
    Mutant(
        "kinds are not compared by the strict walk",
        "compare/values.py",
        "    if type(one) is not type(other):\n        return False",
        "    if False:\n        return False",
        "kind-integer-boolean",
    ),
    Mutant(
        "a change of kind is called a change of value",
        "compare/walk.py",
        "    return _VALUE if kind_of(one) == kind_of(other) else _TYPE",
        "    return _VALUE",
        "kind-array-object",
    ),
    Mutant(
        "what was hoped of the primary's text is not proved",
        "compare/proof.py",
        "        return is_canonical(text, orjson.dumps(value))",
        "        return True",
        "alike-start-duplicate-lost",
    ),
    Mutant(
        "a text is taken for canonical where it only looks so",
        "compare/proof.py",
        "dump.translate(None, _BLANKS) == text.translate(None, _BLANKS)",
        "True",
        "alike-start-spaced-long-number",
    ),
    Mutant(
        "duplicate members are lost",
        "compare/exact.py",
        '    if text.count(b":") != dump.count(b":"):',
        "    if False:",
        "duplicate-keys-lost",
    ),
    Mutant(
        "an escaped colon makes up for a lost member",
        "compare/exact.py",
        '(b"\\\\u003a" not in text and b"\\\\u003A" not in text)',
        "True",
        "duplicate-keys-escaped-colon",
    ),
    Mutant(
        "the exact parser keeps the last duplicate alone",
        "compare/exact.py",
        "    if len(members) == len(pairs):",
        "    if len(members) <= len(pairs):",
        "duplicate-keys-first-differs",
    ),
    Mutant(
        "long numbers go through a double",
        "compare/exact.py",
        "not (_LONG_RUN in shape or",
        "not (",
        "number-long-float",
    ),
    Mutant(
        "depth is unbounded in the exact parser",
        "compare/depth.py",
        "            if depth > MAX_DEPTH:",
        "            if depth > 10**9:",
        "depth-100000-one-side",
    ),
    Mutant(
        "the last element of an array is skipped",
        "compare/arrays.py",
        "left, right = list(range(start, len(one) - end)), list(range(start, len(other) - end))",
        "left, right = list(range(start, len(one) - end - 1)), list(range(start, len(other) - end - 1))",
        "array-removed-last",
    ),
    Mutant(
        "arrays are compared place by place alone",
        "compare/arrays.py",
        "    matches = common(here.tokens, there.tokens)",
        "    matches: list[Match] = []",
        "array-repeats-two",
    ),
    Mutant(
        "moved elements go unnoticed",
        "compare/arrays.py",
        "        return Aligned(moved=True)",
        "        return Aligned()",
        "array-order",
    ),
    Mutant(
        "a multiset forgets how often an element stands",
        "compare/arrays.py",
        "places[token].pop()) for index, token in enumerate(tokens)",
        "places[token][-1]) for index, token in enumerate(tokens)",
        "unordered-multiplicity",
    ),
    Mutant(
        "inner rules have no say in matching unordered elements",
        "compare/arrays.py",
        "        found += _coarsely(rest, rest_other, aligner)",
        "        found += []",
        "unordered-inner-tolerance",
    ),
    Mutant(
        "keys compare without their kind",
        "compare/members.py",
        "tuple(None if isinstance(part, Missing) else exact_token(part) for part in found)",
        "tuple(None if isinstance(part, Missing) else str(part) for part in found)",
        "key-kinds",
    ),
    Mutant(
        "removed members go unnoticed",
        "compare/walk.py",
        "                self.absent(value, MISSING, (path, name), state.member(name))",
        "                pass",
        "missing-null",
    ),
    Mutant(
        "v2 may always add",
        "compare/walk.py",
        "                self.absent(MISSING, value, (path, name), state.member(name), state.effect.subset)",
        '                self.absent(MISSING, value, (path, name), state.member(name), "subset")',
        "added-member",
    ),
    Mutant(
        "a subset rule also lets v2 leave out",
        "compare/walk.py",
        "                self.absent(value, MISSING, (path, name), state.member(name))",
        "                self.absent(value, MISSING, (path, name), state.member(name), state.effect.subset)",
        "subset-removed",
    ),
    Mutant(
        "a rule matches a prefix of a name",
        "rules/automaton.py",
        "if name not in self._ways.names:",
        "if (name := next(filter(name.startswith, self._ways.names), name)) not in self._ways.names:",
        "key-prefix-not-covered",
    ),
    Mutant(
        "a rule holds for everything below what it names",
        "rules/automaton.py",
        "                if query in self._inherited:",
        "                if True:",
        "unordered-not-below",
    ),
    Mutant(
        "descendants are matched one level deep",
        "rules/automaton.py",
        "            if segments[at].descendant:\n                always.add((query, at))",
        "            if False:\n                always.add((query, at))",
        "ignore-descendant",
    ),
    Mutant(
        "rules ignore their routes",
        "rules/rule.py",
        "        return not self.routes or route in self.routes",
        "        return True or route in self.routes",
        "ignore-other-route",
    ),
    Mutant(
        "rules never expire",
        "rules/rule.py",
        "        return self.expires is not None and self.expires <= now",
        "        return False",
        "ignore-expired",
    ),
    Mutant(
        "a tolerance is twice as wide",
        "compare/leaves.py",
        "apart <= Decimal(repr(tolerance.abs))",
        "apart <= 2 * Decimal(repr(tolerance.abs))",
        "tolerance-abs-beyond",
    ),
    Mutant(
        "null and missing are one",
        "compare/leaves.py",
        'return "missing"',
        'return "null"',
        "equivalent-not-missing",
    ),
    Mutant(
        "a dead candidate is compared like any other",
        "compare/outcome.py",
        "    if candidate.failure is None and candidate.status < SERVER_ERROR:",
        "    if True:",
        "candidate-5xx-not-coverable",
    ),
    Mutant(
        "a prefix that agrees is a match",
        "compare/engine.py",
        "    alike = alike and not truncated",
        "    alike = alike and True",
        "truncated-equal-prefix",
    ),
    Mutant(
        "a precondition is not looked at",
        "compare/required.py",
        "        if not same(one, other):",
        "        if False:",
        "require-unequal",
    ),
    Mutant(
        "header lists are split at every comma",
        "compare/fields.py",
        'for token in split_parameters(text, ",")',
        'for token in text.split(",")',
        "header-cache-control-quoted-lists",
    ),
    Mutant(
        "one cookie stands for all",
        "compare/fields.py",
        "        read[name] = ",
        '        read[""] = ',
        "header-cookie-gone",
    ),
    Mutant(
        "what follows the first line of NDJSON is not read",
        "compare/decoders.py",
        "        if line.strip():",
        "        if line.strip() and not values:",
        "ndjson-line-3",
    ),
    Mutant(
        "codings are undone in the order they are listed",
        "compare/coding.py",
        "    for coding in reversed(codings):",
        "    for coding in codings:",
        "coding-chained",
    ),
    Mutant(
        "noise crowds out what counts",
        "compare/finding.py",
        "        result = Result.MISMATCH if self.counted else",
        "        result = Result.MISMATCH if self.counted and not self.covered else",
        "ignore-hides-no-neighbour",
    ),
]
