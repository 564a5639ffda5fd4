"""HTML, compared as a tree of elements, attributes and texts.

Rules for `text` apply to the text first. Only if they do not cover all of its differences, both pages are parsed. The
tree leaves out white space, comments, and the order of attributes and classes: built-in rules cover their differences,
so two different pages are never a match. A page without a tree is compared by lines. So is a page whose tree needs too
much work, and one under `unordered: text`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.excerpt import words
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.formats.text import Text
from shadowdiff.compare.html_tree import ATTRIBUTE, ELEMENT, MAX_CHARS, TEXT, Leaf, NoTreeError, Page, read_page
from shadowdiff.compare.line_places import place_of
from shadowdiff.compare.sequence import mirrored_common
from shadowdiff.compare.value_rules import covering, hide_all, search_units, subsets
from shadowdiff.compare.work import Budget, TooComplexError
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import HTML_COMMENTS, HTML_MARKUP, HTML_ORDER, HTML_WHITE_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shadowdiff.rules.builtin import BuiltInRule
    from shadowdiff.rules.compiled import Effect
    from shadowdiff.rules.kinds.kind import ValueRule

_MOST_MASKS: Final = 3
"""Up to this number of matching masks, all subsets are tried."""
_UNITS_PER_LEAF: Final = 4
_URLS: Final = frozenset(("action", "cite", "data", "formaction", "href", "poster", "src", "srcset"))
"""Attributes whose place has the template of their value. The names in a URL show which values are secrets."""
_LABEL_ENDS: Final = (":", "=")


class Html(Text):
    """Notes the elements, attributes and texts that differ."""

    name = "HTML, XHTML"
    docs = (
        "a tree: elements and attributes (`html.form[login].input[user].@type`), and texts by their template"
        " (`html.main#results.table[*].td.text[Total {number}]`), if rules for `text` do not cover the differences of"
        " the lines. Pages of more than 1 MiB, and pages whose tree needs too much work, are compared by lines"
    )
    media_types = ("text/html",)

    def note_instead(self, one: str, other: str, effect: Effect, findings: Findings) -> bool:
        return note_tree(one, other, effect, findings)


def note_tree(one: str, other: str, effect: Effect, findings: Findings) -> bool:
    """Note where the trees of two different pages differ; return False if they must be compared by lines.

    Raises: TooComplexError on the event loop, because a page may crash or delay a parser.
    """
    if max(len(one), len(other)) > MAX_CHARS or effect.unordered:
        return False
    if findings.limits.on_event_loop:
        raise TooComplexError
    share = Budget(findings.budget.left * 3 // 4)
    start = share.left
    found = Findings(findings.limits, share)
    try:
        _note_pages(one, other, effect, found)
        has_tree = True
    except (NoTreeError, TooComplexError):
        has_tree = False
    findings.budget.spend(start - max(0, share.left))
    if has_tree:
        findings.take(found)
    return has_tree


def _note_pages(one: str, other: str, effect: Effect, findings: Findings) -> None:
    pages = read_page(one, findings.budget), read_page(other, findings.budget)
    _Trees(pages, effect, findings).note()
    masks = _matching(effect.value_rules, one, other, findings.budget)
    if not findings.counted or not masks:
        return
    sizes = (
        subsets(len(masks))
        if len(masks) <= _MOST_MASKS
        else (tuple(range(len(masks))), *((at,) for at in range(len(masks))))
    )
    for chosen in sizes:
        used = [masks[at] for at in chosen]
        again = Findings(findings.limits, findings.budget)
        masked = [hide_all(used, text, findings.budget) for text in (one, other)]
        _Trees((read_page(masked[0], findings.budget), read_page(masked[1], findings.budget)), effect, again).note()
        if not again.counted or len(chosen) == len(masks):
            findings.cover_all_but(again, used[0].label, None)
        if not findings.counted:
            return


def _matching(rules: Sequence[ValueRule], one: str, other: str, budget: Budget) -> list[ValueRule]:
    budget.spend(len(rules) * search_units(len(one) + len(other)))
    return [rule for rule in rules if rule.mask and (rule.mask.matches(one) or rule.mask.matches(other))]


class _Trees:
    """Two pages, and the differences that are found between them."""

    __slots__ = ("_budget", "_effect", "_findings", "_is_moved", "_pages", "_seen")

    def __init__(self, pages: tuple[Page, Page], effect: Effect, findings: Findings) -> None:
        self._pages = pages
        self._effect, self._findings, self._budget = effect, findings, findings.budget
        self._seen: dict[BuiltInRule, tuple[str, str]] = {}
        self._is_moved = False

    def note(self) -> None:
        """Note all differences; if there are no differences, note that the markup differs."""
        findings = self._findings
        one, other = (page.leaves for page in self._pages)
        self._budget.spend(_UNITS_PER_LEAF * (len(one) + len(other)))
        matches = mirrored_common(_tokens(one), _tokens(other), self._budget)
        at = at_other = 0
        for stop, stop_other in [*matches, (len(one), len(other))]:
            if at < stop or at_other < stop_other:
                self._note_gap(range(at, stop), range(at_other, stop_other))
            elif at and one[at - 1].blank != other[at_other - 1].blank:
                self._seen.setdefault(HTML_WHITE_SPACE, (one[at - 1].blank, other[at_other - 1].blank))
            if stop < len(one):
                self._look_at_match(one[stop], other[stop_other])
            at, at_other = stop + 1, stop_other + 1
        self._note_lost()
        if self._is_moved and not (findings.counted or findings.unlisted):
            findings.note("html.nesting", Kind.TEXT, "nesting", "other nesting")
        if self._pages[0].comments != self._pages[1].comments:
            self._seen[HTML_COMMENTS] = ("\n".join(self._pages[0].comments), "\n".join(self._pages[1].comments))
        if not (self._seen or findings.counted or findings.covered or findings.unlisted):
            self._seen[HTML_MARKUP] = ("markup", "written differently")
        for rule, values in self._seen.items():
            findings.note("html", Kind.TEXT, *values, rule.label if findings.limits.uses(rule) else None)

    def _look_at_match(self, one: Leaf, other: Leaf) -> None:
        """Remember what built-in rules cover in two leaves with equal forms."""
        self._is_moved = self._is_moved or one.depth != other.depth
        if one.raw != other.raw:
            rule = HTML_WHITE_SPACE if one.kind == TEXT else HTML_ORDER
            self._seen.setdefault(rule, (one.raw, other.raw))

    def _note_gap(self, gap: range, gap_other: range) -> None:
        """Note the leaves between two matches: those of one place in order, then single ones."""
        one, other = (page.leaves for page in self._pages)
        partner, partner_other = self._partners(gap, gap_other)
        index = gap.start
        while index < gap.stop:
            leaf = one[index]
            if index in partner:
                self._note_change(leaf, other[partner[index]], index, partner[index])
                index += 1
            else:
                stop = _whole(leaf, index, gap, partner)
                self._note_single(leaf, None, index, one[index:stop])
                index = stop
        index = gap_other.start
        while index < gap_other.stop:
            leaf = other[index]
            if index in partner_other:
                index += 1
            else:
                stop = _whole(leaf, index, gap_other, partner_other)
                self._note_single(None, leaf, index, other[index:stop])
                index = stop

    def _partners(self, gap: range, gap_other: range) -> tuple[dict[int, int], dict[int, int]]:
        """Pair leaves of one kind and place in order; texts with the same template first."""
        one, other = (page.leaves for page in self._pages)
        partner: dict[int, int] = {}
        self._budget.spend(4 * (len(gap) + len(gap_other)))
        for key in (self._exact_key, _loose_key):
            waiting: defaultdict[object, deque[int]] = defaultdict(deque)
            taken = set(partner.values())
            for against in gap_other:
                if against not in taken:
                    waiting[key(other[against])].append(against)
            for index in gap:
                if index not in partner and (found := waiting.get(key(one[index]))):
                    partner[index] = found.popleft()
        return partner, {against: index for index, against in partner.items()}

    def _exact_key(self, leaf: Leaf) -> object:
        return leaf.kind, leaf.place, self._text_place([leaf.form], []) if leaf.kind == TEXT else leaf.form

    def _text_place(self, one: list[str], other: list[str], before: str = "") -> str:
        return place_of(one, other, before, self._budget)

    def _note_change(self, one: Leaf, other: Leaf, index: int, against: int) -> None:
        if one.form == other.form:
            self._look_at_match(one, other)
            return
        place = one.place
        if one.kind == TEXT:
            place = f"{place}.{self._place_of_text(index, against)}"
        elif one.kind == ATTRIBUTE and place.rpartition(".@")[2] in _URLS:
            known = self._text_place([one.form], [])
            place = f"{place}.{known}" if known == self._text_place([other.form], []) else place
        self._note(one.path, place, one.form, other.form)

    def _place_of_text(self, index: int | None, against: int | None) -> str:
        """Return the last step of a text: its template, after the text before it if that is a label, as `Total:`."""
        texts: list[list[str]] = []
        context = ""
        for side, at in enumerate((index, against)):
            if at is None:
                texts.append([])
                continue
            before, form = self._context(at, side), self._pages[side].leaves[at].form
            context = context or before
            texts.append([f"{before} {form}" if before.endswith(_LABEL_ENDS) else form])
        return self._text_place(texts[0], texts[1], context)

    def _note_single(self, one: Leaf | None, other: Leaf | None, index: int, inside: Sequence[Leaf]) -> None:
        leaf = one or other
        if leaf is None:
            return
        place, shown = leaf.place, leaf.form
        if leaf.kind == TEXT:
            place = f"{place}.{self._place_of_text(index if one else None, None if one else index)}"
        elif leaf.kind == ELEMENT:
            shown = _shown(inside)
            texts = [each.form for each in inside if each.kind == TEXT]
            if texts:
                context = self._context(index, 0 if one else 1)
                place = f"{place}.{self._text_place([' '.join(texts)], [], context)}"
        self._note(leaf.path, place, shown if one else None, shown if other else None)

    def _context(self, index: int, side: int) -> str:
        """Return the text before a text, which names a text without words, such as a number in a table."""
        leaves = self._pages[side].leaves
        for at in range(index - 1, max(-1, index - 12), -1):
            if leaves[at].kind == TEXT and leaves[at].place != "html.doctype":
                return leaves[at].form.strip()
        return ""

    def _note(self, path: str, place: str, one: str | None, other: str | None) -> None:
        findings = self._findings
        rule = None
        rules = self._effect.value_rules
        if rules and one is not None and other is not None:
            rule = covering(rules, one, other, self._budget)
        if findings.room(rule) <= 0:
            findings.unlisted += 1
            return
        if one is not None and other is not None:
            masks = [each for each in rules if each.mask] if rule is None else ()
            one, other = words(one, other, self._budget, masks, findings.limits.value_chars)
        findings.note(path, Kind.TEXT, one, other, rule, pattern=place)

    def _note_lost(self) -> None:
        """Note tags that the parser drops on one side only."""
        lost, lost_other = (page.lost for page in self._pages)
        if lost != lost_other:
            gone, came = (" ".join(sorted(tags.elements())) for tags in (lost - lost_other, lost_other - lost))
            self._findings.note("html.dropped", Kind.TEXT, gone or None, came or None)


def _tokens(leaves: Sequence[Leaf]) -> list[str]:
    """Return the tokens by which leaves are aligned; that of an element contains what follows up to the next one."""
    found: list[str] = []
    inside: list[str] = []
    for leaf in reversed(leaves):
        token = f"{leaf.kind}{leaf.place}\0{leaf.form}"
        if leaf.kind == ELEMENT:
            token = "\1".join((token, *reversed(inside)))
            inside.clear()
        else:
            inside.append(token)
        found.append(token)
    return found[::-1]


def _loose_key(leaf: Leaf) -> object:
    return leaf.kind, leaf.place


def _whole(leaf: Leaf, index: int, gap: range, partner: dict[int, int]) -> int:
    """Return the end of the leaves that one difference shows: those of a whole element, or the leaf alone.

    The attributes of an element without a partner are no differences of their own.
    """
    if leaf.kind != ELEMENT:
        return index + 1
    stop = min(leaf.stop, gap.stop)
    at = index + 1
    while at < stop and at not in partner:
        at += 1
    return at if at == leaf.stop else index + 1


def _shown(leaves: Sequence[Leaf]) -> str:
    """Return an element as text: its start tag, and the texts inside."""
    first, *rest = leaves
    attributes = "".join(_attributes(rest))
    texts = " ".join(leaf.form for leaf in rest if leaf.kind == TEXT)
    return f"<{first.form}{attributes}>{texts}"


def _attributes(leaves: Iterable[Leaf]) -> Iterator[str]:
    for leaf in leaves:
        if leaf.kind != ATTRIBUTE:
            return
        yield f' {leaf.path.rpartition(".@")[2]}="{leaf.form}"'
