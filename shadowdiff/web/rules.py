"""The API of rules: those in force and where each is from, new ones, and what a changed set would make of the samples.

In: declarations as in the configuration.  Out: rules with their origin, as JSON or as the configuration's YAML; and
previews.
Holds: a preview changes nothing; a write names its author and reason, and is noted for the audit log.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import yaml
from starlette.responses import Response

from shadowdiff.compare import Limits
from shadowdiff.model import Result
from shadowdiff.report import newest_samples, whole_samples
from shadowdiff.rules import Rule, RuleError, compile_rules, declaration, lint_rules, parse_rules
from shadowdiff.verdict import read_counts
from shadowdiff.web.asked import author_of, decoded, known, named_author, payload
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter
from shadowdiff.web.preview import Preview, preview, returning
from shadowdiff.web.rule_book import BookFullError, MadeRule, RuleBook
from shadowdiff.web.visit import note

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from shadowdiff.report import Sample
    from shadowdiff.web.state import TargetView, WebState

MAX_RULES: Final = 1000
PREVIEWED: Final = 200
MOST_PREVIEWED: Final = 1000


class RuleInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, and where it is from: the configuration, or somebody who made it here."""

    target: str
    rule: dict[str, Any]
    origin: Literal["configuration", "made"]
    id: str | None = None
    author: str | None = None
    reason: str = ""
    made_at: str | None = None
    expired: bool = False


class Rules(msgspec.Struct, frozen=True):
    """The rules in force."""

    rules: list[RuleInForce]


class NewRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule to make: the declaration as in the configuration, who makes it, and why."""

    target: str
    rule: dict[str, Any]
    author: str = ""
    reason: str = ""


class RulesToTry(msgspec.Struct, frozen=True, kw_only=True):
    """Rules to try on the samples: in place of the target's rules, or beside them.

    without: ids of rules made here that would be taken back.
    """

    target: str
    rules: list[dict[str, Any]] = []
    beside: bool = False
    without: list[str] = []


def in_force(state: WebState, view: TargetView) -> list[RuleInForce]:
    """Return the rules of a target, the configuration's first."""
    now = datetime.fromtimestamp(state.now_ms() / 1000, UTC)
    name = view.target.name
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
    made = state.rule_book.made if state.rule_book else ()
    return [*declared, *(_made(one, now) for one in made if one.target == name)]


async def get_rules(state: WebState, arguments: Arguments, _request: Request) -> Rules | Response:
    """Answer the rules in force, as JSON or as the YAML of the configuration."""
    if state.rule_book and not state.rule_book.looked.is_set():
        await state.rule_book.look()
    views = [known(state, arguments["target"])] if arguments["target"] else list(state.targets())
    rules = {view.target.name: in_force(state, view) for view in views}
    if arguments["format"] == "yaml":
        targets = [{"name": name, "rules": [one.rule for one in those]} for name, those in rules.items()]
        return Response(
            yaml.safe_dump({"targets": targets}, sort_keys=False, allow_unicode=True), media_type="application/yaml"
        )
    return Rules([one for those in rules.values() for one in those])


async def post_rule(state: WebState, _arguments: Arguments, request: Request) -> RuleInForce:
    """Make a rule."""
    asked = decoded(await payload(request), NewRule)
    return await make(state, asked)


async def make(state: WebState, asked: NewRule) -> RuleInForce:
    """Make a rule. Raises: ApiError, saying what is wrong with it."""
    name = known(state, asked.target).target.name
    author, reason = author_of(asked.author), state.redact(asked.reason.strip())
    if not author or not reason:
        raise ApiError(400, "a rule needs an author and a reason, so that others know whom to ask")
    try:
        made = await book(state).add(name, asked.rule, author, reason[:1000])
    except RuleError as error:
        raise ApiError(400, str(error).removeprefix("rules[0]").lstrip(".: ")) from error
    except BookFullError as error:
        raise ApiError(409, str(error)) from error
    note("a rule was made", name, **_facts(made))
    return _made(made, datetime.fromtimestamp(state.now_ms() / 1000, UTC))


async def delete_rule(state: WebState, arguments: Arguments, _request: Request) -> RuleInForce:
    """Take a made rule back."""
    return await remove(state, arguments["id"], arguments["author"] or "", arguments["reason"] or "")


async def remove(state: WebState, rule_id: str, author: str, reason: str) -> RuleInForce:
    """Take a made rule back. Raises: ApiError where there is none of that id, or nobody says so."""
    author = named_author(author)
    gone = await book(state).remove(rule_id)
    if gone is None:
        raise ApiError(404, f"no rule made here is called {rule_id!r}; those of the configuration are changed there")
    note("a rule was removed", gone.target, **_facts(gone), by=author, why=reason[:1000])
    return _made(gone, datetime.fromtimestamp(state.now_ms() / 1000, UTC))


async def post_preview(state: WebState, arguments: Arguments, request: Request) -> Preview:
    """Try rules on the samples."""
    return await tried(state, decoded(await payload(request), RulesToTry), arguments["limit"])


async def tried(state: WebState, asked: RulesToTry, limit: int = PREVIEWED) -> Preview:
    """Return what rules would make of the newest samples. Raises: ApiError where one is not understood."""
    view = known(state, asked.target)
    if len(asked.rules) > MAX_RULES:
        raise ApiError(400, f"{len(asked.rules):,} rules are too many to try: at most {MAX_RULES:,}")
    try:
        rules = parse_rules(asked.rules)
    except RuleError as error:
        raise ApiError(400, str(error)) from error
    stay = _without(state, view, asked.without)
    whole = (*stay, *rules) if asked.beside else rules
    samples = await _newest(state, view.target.name, limit)
    now = datetime.fromtimestamp(state.now_ms() / 1000, UTC)
    warnings = [found.message for found in lint_rules(rules, compared_headers=Limits().headers, now=now)]
    async with state.previews:
        made = await asyncio.to_thread(preview, view.target.name, samples, compile_rules(whole, now), warnings)
    counts = await read_counts(state.reader, view.target.name, state.fold(view.target.name))
    back = returning(counts.routes, {rule.label for rule in whole})
    return msgspec.structs.replace(made, returning=back)


def _without(state: WebState, view: TargetView, gone: Collection[str]) -> tuple[Rule, ...]:
    """Return a target's rules but for some that were made here. Raises: ApiError where one of them is not known."""
    made = [one for one in (state.rule_book.made if state.rule_book else ()) if one.target == view.target.name]
    unknown = sorted(set(gone) - {one.id for one in made})
    if unknown:
        raise ApiError(404, f"no rule made here for {view.target.name!r} is called {', '.join(map(repr, unknown))}")
    return (*view.declared, *parse_rules([one.rule for one in made if one.id not in gone]))


def rules_of(state: WebState, view: TargetView) -> tuple[Rule, ...]:
    """Return every rule of a target: the configuration's, and those made here."""
    return (*view.declared, *(state.rule_book.rules(view.target.name) if state.rule_book else ()))


def book(state: WebState) -> RuleBook:
    """Return the book of made rules. Raises: ApiError where this service keeps none."""
    if state.rule_book is None:
        raise ApiError(501, "this service keeps no rules but the configuration's")
    return state.rule_book


async def _newest(state: WebState, target: str, limit: int) -> list[Sample]:
    """Return the newest samples, those that a rule had kept from being compared among them."""
    differing = await newest_samples(state.reader, target, limit, since_ms=state.since_ms)
    apart = await newest_samples(state.reader, target, limit, result=Result.INCOMPARABLE, since_ms=state.since_ms)
    lines = [*differing, *(line for line in apart if line.reason.startswith("require "))][:limit]
    return await whole_samples(state.reader, [line.id for line in lines], since_ms=state.since_ms)


def _made(one: MadeRule, now: datetime) -> RuleInForce:
    return RuleInForce(
        target=one.target,
        rule=one.rule,
        origin="made",
        id=one.id,
        author=one.author,
        reason=one.reason,
        made_at=datetime.fromtimestamp(one.made_ms / 1000, UTC).isoformat(timespec="seconds"),
        expired=parse_rules([one.rule])[0].expired(now),
    )


def _facts(one: MadeRule) -> dict[str, str]:
    rule = msgspec.json.encode(one.rule).decode()
    return {"rule_id": one.id, "rule": rule, "author": one.author, "reason": one.reason}


_WRITES: Final = {403: "Not from here", 501: "This service keeps no rules"}

RULE_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/rules",
        name="rules",
        summary="The rules in force, those of the configuration and those made here",
        handler=get_rules,
        answer=Rules,
        parameters=(
            Parameter(name="target", description="only this target's"),
            Parameter(
                name="format",
                description="json, or yaml: as the configuration has them",
                default="json",
                choices=("json", "yaml"),
            ),
        ),
        also=("application/yaml",),
        refuses={400: "An argument is wrong", 404: "No such target"},
    ),
    Operation(
        path="/rules",
        name="make-rule",
        summary="Make a rule, which holds everywhere within five seconds",
        method="POST",
        handler=post_rule,
        body=NewRule,
        answer=RuleInForce,
        refuses={400: "The rule is not understood", 404: "No such target", 409: "Too many rules", **_WRITES},
    ),
    Operation(
        path="/rules/{id}",
        name="remove-rule",
        summary="Take back a rule that was made here",
        method="DELETE",
        handler=delete_rule,
        answer=RuleInForce,
        parameters=(
            Parameter(name="id", description="the rule's id", where="path", required=True),
            Parameter(name="author", description="who takes it back; may be left out by whoever is identified"),
            Parameter(name="reason", description="why"),
        ),
        refuses={400: "Nobody says who", 404: "No such rule", **_WRITES},
    ),
    Operation(
        path="/rules/preview",
        name="preview-rules",
        summary="Try rules on the stored samples: as counted, and as the rules would count",
        method="POST",
        handler=post_preview,
        role="read",
        body=RulesToTry,
        answer=Preview,
        parameters=(
            Parameter(
                name="limit",
                description="of how many of the newest samples",
                type="integer",
                default=PREVIEWED,
                minimum=1,
                maximum=MOST_PREVIEWED,
            ),
        ),
        refuses={400: "A rule is not understood", 404: "No such target"},
    ),
)
