"""Mutants of the comparison: copies with a typical fault. For each mutant, a golden case must fail."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mutant.

    In `file`, `new` replaces `old`, which occurs once. The golden case `killer` must fail with the mutant.
    """

    name: str
    file: str
    old: str
    new: str
    killer: str


MUTANTS = [
    Mutant(
        "kinds of equal values are not proved",
        "compare/type_proof.py",
        "        return orjson.dumps(one, stand_in, _SORTED) == orjson.dumps(other, stand_in, _SORTED)",
        "        return True",
        "kind-inside-equal-object",
    ),
    Mutant(
        "kinds are not compared by the strict walk",
        "rules/json_values.py",
        "    if type(one) is not type(other):\n        return False",
        "    if False:\n        return False",
        "kind-integer-boolean",
    ),
    Mutant(
        "a change of kind is called a change of value",
        "compare/walk.py",
        "    return _VALUE if kind_of(one) == kind_of(other) else Kind.TYPE",
        "    return _VALUE",
        "kind-array-object",
    ),
    Mutant(
        "what was hoped of the primary's text is not proved",
        "compare/type_proof.py",
        "        return is_canonical(text, orjson.dumps(value))",
        "        return True",
        "alike-start-duplicate-lost",
    ),
    Mutant(
        "a text is taken for canonical where it only looks so",
        "compare/type_proof.py",
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
        "compare/exact.py",
        "any(depth > levels",
        "any(depth > 10**9",
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
        "    matches = common(here.tokens, there.tokens, aligner.budget)",
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
        "compare/sequence.py",
        "places[token].pop()) for index, token in enumerate(tokens)",
        "places[token][-1]) for index, token in enumerate(tokens)",
        "unordered-multiplicity",
    ),
    Mutant(
        "inner rules have no say in matching unordered elements",
        "compare/unordered.py",
        "        return self._coverage.covers(one[index], other[against], self._state.element(index, len(one)))",
        "        return one[index] == other[against]",
        "unordered-inner-tolerance",
    ),
    Mutant(
        "keys compare without their kind",
        "compare/alignment.py",
        "tuple(None if isinstance(part, Missing) else exact(part) for part in found)",
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
        "        if name in self._names:",
        "        if (name := next(filter(name.startswith, self._names), name)) in self._names:",
        "key-prefix-not-covered",
    ),
    Mutant(
        "a rule holds for everything below what it names",
        "rules/automaton.py",
        "at.mask(at.ends[number] for number in inherited)",
        "at.mask(at.ends)",
        "unordered-not-below",
    ),
    Mutant(
        "descendants are matched one level deep",
        "rules/automaton.py",
        "                if segment.descendant:\n                    descendant.append(at)",
        "                if False:\n                    descendant.append(at)",
        "ignore-descendant",
    ),
    Mutant(
        "rules ignore their routes",
        "rules/rule.py",
        "        return not self.routes or any(",
        "        return True or any(",
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
        "rules/kinds/tolerance.py",
        "distance <= Decimal(repr(bounds.abs))",
        "distance <= 2 * Decimal(repr(bounds.abs))",
        "tolerance-abs-beyond",
    ),
    Mutant(
        "null and missing are one",
        "rules/kinds/equivalent.py",
        'return "missing"',
        'return "null"',
        "equivalent-not-missing",
    ),
    Mutant(
        "a dead candidate is compared like any other",
        "compare/engine.py",
        "    has_failed = candidate.failure is not None or candidate.status >= SERVER_ERROR",
        "    has_failed = False",
        "candidate-5xx-not-coverable",
    ),
    Mutant(
        "a prefix that agrees is a match",
        "compare/engine.py",
        "    alike = alike and primary.body_bytes <= len(primary.body) and",
        "    alike = alike and True or",
        "truncated-equal-prefix",
    ),
    Mutant(
        "a precondition is not looked at",
        "compare/required.py",
        "        if not _all_same(nodes, nodes_other, findings.budget):",
        "        if False:",
        "require-unequal",
    ),
    Mutant(
        "header lists are split at every comma",
        "compare/content_type.py",
        'for member in split_parameters(line, ",")',
        'for member in line.split(",")',
        "header-cache-control-quoted-lists",
    ),
    Mutant(
        "one cookie stands for all",
        "compare/fields.py",
        '        found.setdefault(name.strip(" \\t"), [])',
        '        found.setdefault("", [])',
        "header-cookie-attribute-lost",
    ),
    Mutant(
        "what follows the first line of NDJSON is not read",
        "compare/formats/json_lines.py",
        "        if text.strip(_BLANKS):",
        "        if text.strip(_BLANKS) and not values:",
        "ndjson-line-3",
    ),
    Mutant(
        "a header is compared only if a list names it",
        "compare/compared_headers.py",
        "next((holds for prefix, holds in self._prefixes if name.startswith(prefix)), True)",
        "next((holds for prefix, holds in self._prefixes if name.startswith(prefix)), False)",
        "header-total-count-lost",
    ),
    Mutant(
        "the size of a body that is not sent is not compared",
        "compare/compared_headers.py",
        "        self.bodiless: Final = _Decisions(dict.fromkeys(without_body, False) | stated)",
        "        self.bodiless: Final = self.usual",
        "header-head-content-length",
    ),
    Mutant(
        "a cookie is known by its name alone",
        "compare/fields.py",
        "    if not lost and not gained:",
        "    if one[-1:] == other[-1:] or (not lost and not gained):",
        "header-cookie-same-name-lost",
    ),
    Mutant(
        "the order of cookies that replace each other has no meaning",
        "compare/fields.py",
        "for place, text in last.items() if text != last_other[place])",
        "for place, text in last.items() if False)",
        "header-cookie-set-then-deleted",
    ),
    Mutant(
        "a byte order mark is dropped",
        "compare/formats/format.py",
        "    if one != other:\n        left, right = (_MARK",
        "    if False:\n        left, right = (_MARK",
        "text-byte-order-mark-lost",
    ),
    Mutant(
        "text among XML elements has no place",
        "compare/formats/xml.py",
        "            texts.append(child.tail)\n            order.append(_TEXT)",
        "            texts.append(child.tail)",
        "xml-mixed-content",
    ),
    Mutant(
        "an event needs no blank line at its end",
        "compare/formats/event_stream.py",
        '            found.append({"unfinished": _event(fields, lines)})',
        "            found.append(_event(fields, lines))",
        "sse-unfinished-event",
    ),
    Mutant(
        "one broken body is enough to compare both as text",
        "compare/formats/format.py",
        "        if all(faults):",
        "        if any(faults):",
        "broken-candidate-alone-masked",
    ),
    Mutant(
        "a prefix of JSON is removed without a comparison",
        "compare/formats/json.py",
        "    if one != other:",
        "    if False:",
        "script-prefix-lost",
    ),
    Mutant(
        "a part has no headers but those that are read",
        "compare/formats/multipart.py",
        'found["headers"] = others',
        "pass",
        "multipart-content-range",
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
        "ignore-hides-no-neighbor",
    ),
]
