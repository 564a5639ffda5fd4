"""List, add, remove and preview rules, and read and write them as YAML.

A preview changes nothing. Every added rule has an author and a reason. YAML is read and written off the event loop,
because it takes much longer than JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec
import yaml

from shadowdiff.compare import limits_of
from shadowdiff.model import Result
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.offload import pack_samples, unpack_samples
from shadowdiff.queries.visible import is_visible
from shadowdiff.report import newest_samples, whole_samples
from shadowdiff.rule_changes.added_rules import AddedRule, BookFullError, RuleBook
from shadowdiff.rule_changes.preview import Preview, preview, reported_again
from shadowdiff.rule_changes.rejudge import LIMITS, PRECONDITIONS
from shadowdiff.rules import Rule, RuleError, compile_rules, declaration, lint_rules, parse_rules
from shadowdiff.rules.builtin import BUILT_IN_RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.model import Target
    from shadowdiff.queries.targets import Queries, TargetView
    from shadowdiff.report import Sample

MAX_PREVIEWED_RULES: Final = 1000
PREVIEWED_SAMPLES: Final = 200
MAX_PREVIEWED_SAMPLES: Final = 1000
_NO_PREVIEW: Final = frozenset({422, 503})
"""The statuses of a preview that takes too long, or has to wait too long. A rule can be added without it."""
_MAX_YAML_CHARS: Final = 64 << 10


class RuleInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and its origin: the configuration, or a user at run time."""

    target: str
    rule: dict[str, Any]
    origin: Literal["configuration", "added"]
    id: str | None = None
    author: str | None = None
    reason: str = ""
    added_at: str | None = None
    expired: bool = False


class BuiltInInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A built-in rule of a target.

    name: its name in the setting `built_in_rules`. label: the `rule` of a difference that it covers. covers: what it
    covers, as a sentence. on: whether it applies.
    """

    target: str
    name: str
    label: str
    covers: str
    on: bool


class RulesInForce(msgspec.Struct, frozen=True):
    """The rules that currently apply, and all built-in rules."""

    rules: list[RuleInForce]
    built_in: list[BuiltInInForce] = []


class NewRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule to add: its declaration as in the configuration, its author and the reason.

    confirm: whether to add the rule even if it changes none of the stored samples.
    """

    target: str
    rule: dict[str, Any]
    author: str = ""
    reason: str = ""
    confirm: bool = False


class PreviewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rules to preview.

    keep_existing: whether the target's rules also apply; if not, the rules replace them.
    without: ids of added rules to leave out.
    """

    target: str
    rules: list[dict[str, Any]] = []
    keep_existing: bool = False
    without: list[str] = []


class NoEffectError(RequestError):
    """A rule changes none of the stored samples, so a person must confirm it."""


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """Reads and changes rules.  book: None if rules are not stored.  redact: removes secrets from reasons."""

    queries: Queries
    book: RuleBook | None = None
    redact: Callable[[str], str] = lambda text: text

    def in_force(self, view: TargetView) -> list[RuleInForce]:
        """Return a target's rules. Rules in the configuration come first."""
        now, name = self._now(), view.target.name
        declared = [
            RuleInForce(
                target=name,
                rule=declaration(rule),
                origin="configuration",
                reason=rule.reason,
                expired=rule.expired(now),
            )
            for rule in view.declared
        ]
        return [*declared, *(_shown(one, now) for one in self._added(name))]

    def built_in(self, target: str | None) -> list[BuiltInInForce]:
        """Return the built-in rules of one target, or of all targets. Raises: RequestError."""
        views = [self.queries.target(target)] if target else list(self.queries.targets())
        return [
            BuiltInInForce(
                target=view.target.name,
                name=rule.name,
                label=rule.label,
                covers=rule.docs,
                on=rule.name not in view.target.built_in_off,
            )
            for view in views
            for rule in BUILT_IN_RULES
        ]

    def rules_of(self, view: TargetView) -> tuple[Rule, ...]:
        """Return all rules of a target: rules in the configuration and added rules."""
        return (*view.declared, *(self.book.rules(view.target.name) if self.book else ()))

    async def all_in_force(self, target: str | None) -> dict[str, list[RuleInForce]]:
        """Return the rules of one target, or of all targets, grouped by target. Raises: RequestError."""
        await self.ensure_read()
        views = [self.queries.target(target)] if target else list(self.queries.targets())
        return {view.target.name: self.in_force(view) for view in views}

    async def as_yaml(self, target: str | None) -> str:
        """Return the rules in force as YAML for the configuration. Raises: RequestError."""
        rules = await self.all_in_force(target)
        declared = {name: [one.rule for one in those] for name, those in rules.items()}
        return await self.queries.offload(write_targets, declared)

    async def ensure_read(self) -> None:
        """Read the rule book if it has not been read yet."""
        if self.book and not self.book.is_read.is_set():
            await self.book.read()

    async def add(self, new: NewRule, author: str) -> RuleInForce:
        """Add a rule. Raises: RequestError if the rule is invalid; NoEffectError if it needs to be confirmed."""
        name = self.queries.target(new.target).target.name
        reason = self.redact(new.reason.strip())
        if not author or not reason:
            raise RequestError(400, "author or reason is missing: a rule needs both")
        book = self._book()
        try:
            parse_rules([new.rule])
            if not new.confirm:
                await self._check_effect(name, new.rule)
            added = await book.add(name, new.rule, author, reason[:1000])
        except RuleError as error:
            raise RequestError(400, str(error).removeprefix("rules[0]").lstrip(".: ")) from error
        except BookFullError as error:
            raise RequestError(409, str(error)) from error
        return _shown(added, self._now())

    async def _check_effect(self, target: str, rule: dict[str, Any]) -> None:
        """Raise a NoEffectError if the rule changes none of the stored samples, and there are samples."""
        try:
            without, with_rule = [
                await self.preview(PreviewRequest(target=target, rules=rules, keep_existing=True))
                for rules in ([], [rule])
            ]
        except RequestError as error:
            if error.status in _NO_PREVIEW:
                return
            raise
        if with_rule.samples and _effect(without) == _effect(with_rule):
            raise NoEffectError(
                409,
                f"the rule changes 0 of {with_rule.samples:,} stored samples; to add it anyway, use --yes, or "
                "`confirm: true` in the API",
            )

    async def remove(self, rule_id: str) -> RuleInForce:
        """Remove an added rule. Raises: RequestError if no added rule has that id."""
        removed = await self._book().remove(rule_id, is_visible)
        if removed is None:
            raise RequestError(
                404,
                f"there is no added rule with the id {rule_id!r}; to change a rule of the configuration, edit the "
                "configuration",
            )
        return _shown(removed, self._now())

    async def parse(self, text: str) -> list[dict[str, Any]]:
        """Return the rules in a YAML text. Raises: RequestError."""
        if len(text) > _MAX_YAML_CHARS:
            raise RequestError(413, f"the rules have {len(text):,} characters; at most {_MAX_YAML_CHARS:,} are allowed")
        return await self.queries.offload(read_rules, text)

    async def preview(self, request: PreviewRequest, limit: int = PREVIEWED_SAMPLES) -> Preview:
        """Return the effect of rules on the newest samples. Raises: RequestError if a rule is invalid."""
        queries, view, name = self.queries, self.queries.target(request.target), request.target
        if len(request.rules) > MAX_PREVIEWED_RULES:
            raise RequestError(400, f"{len(request.rules):,} rules are too many; at most {MAX_PREVIEWED_RULES:,}")
        added = self._added(name)
        if unknown := sorted(set(request.without) - {one.id for one in added}):
            raise RequestError(404, f"{name!r} has no added rule with the id {', '.join(map(repr, unknown))}")
        staying = parse_rules([one.rule for one in added if one.id not in request.without])
        existing = (*view.declared, *staying) if request.keep_existing else ()

        async def samples() -> Sequence[bytes]:
            return await pack_samples(self._samples(name, limit))

        try:
            made, labels = await queries.offload(
                preview_rules, view.target, request.rules, existing, queries.now_ms() / 1000, parts=samples
            )
        except RuleError as error:
            raise RequestError(400, str(error)) from error
        counts = await queries.counts(name)
        return msgspec.structs.replace(made, reported_again=reported_again(counts.routes, labels))

    async def _samples(self, target: str, limit: int) -> list[Sample]:
        """Return the newest samples, including pairs that were not compared because of a rule."""
        reader, since_ms = self.queries.reader, self.queries.since_ms
        differing = await newest_samples(reader, target, limit, since_ms=since_ms)
        others = await newest_samples(reader, target, limit, result=Result.INCOMPARABLE, since_ms=since_ms)
        lines = [*differing, *(line for line in others if line.reason.startswith(PRECONDITIONS))][:limit]
        return await whole_samples(reader, [line.id for line in lines], since_ms=since_ms)

    def _book(self) -> RuleBook:
        if self.book is None:
            raise RequestError(501, "this service cannot store rules; add the rule to the configuration")
        return self.book

    def _added(self, target: str) -> list[AddedRule]:
        return [one for one in (self.book.added if self.book else ()) if one.target == target]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.queries.now_ms() / 1000, UTC)


def _effect(found: Preview) -> object:
    """Return what rules change in the stored samples."""
    return found.after, found.undecided, found.differences, found.newly_ignored


def preview_rules(
    target: Target, declared: Sequence[object], existing: Sequence[Rule], now_s: float, samples: Sequence[bytes]
) -> tuple[Preview, frozenset[str]]:
    """Return the effect of rules on samples, and the labels of all rules that would apply.

    declared: the rules to preview.  existing: rules that also apply.  Raises: RuleError if a rule is invalid.
    """
    rules = parse_rules(declared)
    whole = (*existing, *rules)
    now = datetime.fromtimestamp(now_s, UTC)
    limits = limits_of(target, LIMITS)
    warnings = [found.message for found in lint_rules(rules, compared_headers=limits.headers, now=now)]
    made = preview(target.name, unpack_samples(samples), compile_rules(whole, now), warnings, limits)
    return made, frozenset(rule.label for rule in whole)


def _shown(one: AddedRule, now: datetime) -> RuleInForce:
    return RuleInForce(
        target=one.target,
        rule=one.rule,
        origin="added",
        id=one.id,
        author=one.author,
        reason=one.reason,
        added_at=datetime.fromtimestamp(one.added_ms / 1000, UTC).isoformat(timespec="seconds"),
        expired=parse_rules([one.rule])[0].expired(now),
    )


class _NoAliases(yaml.SafeLoader):
    """A YAML loader that rejects aliases, because a few lines with aliases can expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return a node. Raises: YAMLError if the node is an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported; write out the value")
        return super().compose_node(parent, index)


def read_rules(text: str) -> list[dict[str, Any]]:
    """Return the rules in a text, which is one mapping or a list of mappings. Raises: RequestError."""
    try:
        found: Any = _NoAliases(text).get_single_data()
        rules = cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])
        parse_rules(rules)
    except RecursionError:
        raise RequestError(400, "the rules are nested too deeply") from None
    except (yaml.YAMLError, RuleError, ValueError) as error:
        raise RequestError(400, " ".join(str(error).split())) from error
    return rules


def write_targets(rules: dict[str, list[dict[str, Any]]]) -> str:
    """Return the rules of targets as YAML for the configuration."""
    targets = [{"name": name, "rules": those} for name, those in rules.items()]
    return yaml.safe_dump({"targets": targets}, sort_keys=False, allow_unicode=True)
