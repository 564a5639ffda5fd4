"""The page of rules: those in force and what each covered, a place to try and to make one, a way to take one back.

In: plain forms, since nothing runs on these pages.  Out: HTML, or a way back to the page after a change.
Holds: every form passed the `Entry` before it comes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast
from urllib.parse import parse_qs, urlencode

import yaml
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shadowdiff.report import sample
from shadowdiff.rules import RuleError, parse_rules
from shadowdiff.verdict import read_counts
from shadowdiff.web import words
from shadowdiff.web.asked import payload
from shadowdiff.web.operation import ApiError
from shadowdiff.web.proposals import Proposal, proposals
from shadowdiff.web.rules import NewRule, RuleInForce, RulesToTry, in_force, make, remove, tried
from shadowdiff.web.suggestions import suggestions_for
from shadowdiff.web.visit import visit
from shadowdiff.web.writes import FORM, content_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from shadowdiff.web.preview import Preview
    from shadowdiff.web.state import WebState

_SEE_OTHER: Final = 303


class Render(Protocol):
    """Lays out a template."""

    async def __call__(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return the page."""
        ...


class Line(NamedTuple):
    """A rule as the page lists it: as it is written, and in how many pairs and places it covered a difference."""

    rule: RuleInForce
    written: str
    covered: int


class RulePages:
    """The page of rules of one state."""

    def __init__(self, state: WebState, render: Render) -> None:
        self._state = state
        self._render = render

    def routes(self) -> list[Route]:
        """Return the routes of the page."""
        return [
            Route("/rules", self.show, methods=["GET"], name="rules-page"),
            Route("/rules", self.change, methods=["POST"], name="rules-form"),
        ]

    async def show(self, request: Request) -> Response:
        """Answer the rules in force, and a form; filled with what covers a difference where one is named."""
        if self._state.rule_book and not self._state.rule_book.looked.is_set():
            await self._state.rule_book.look()
        asked = request.query_params
        target = asked.get("target", "")
        given = {"target": target} if self._state.target(target) else {}
        given |= {name: asked[name] for name in ("made", "suggest") if name in asked}
        proposed = await self._proposed(asked.get("sample", ""), asked.get("path", "")) if given else []
        if not proposed:
            return await self._page(given)
        number = asked.get("choice", "")
        at = int(number) if number.isascii() and number.isdigit() and int(number) < len(proposed) else 0
        given |= {"rule": words.rule(proposed[at].rule), "sample": asked["sample"], "path": asked.get("path", "")}
        return await self._page(given, tried=await self._try(given), proposed=proposed, choice=at)

    async def _proposed(self, sample_id: str, path: str) -> list[Proposal]:
        """Return rules that would cover the difference of a sample at a path."""
        found = await sample(self._state.reader, sample_id, since_ms=self._state.since_ms) if sample_id else None
        counted = [one for one in found.differences if one.rule is None] if found else []
        here = next((one for one in counted if path in (one.pattern, one.path)), None)
        return proposals(here, found.route) if found and here else []

    async def change(self, request: Request) -> Response:
        """Try a rule, make it, or take one back, as the form says."""
        given: dict[str, str] = {}
        try:
            given = await form_fields(request)
            if given.get("do") == "try-without":
                visit().changed_nothing = True
                asked = RulesToTry(target=given.get("target", ""), beside=True, without=[given.get("id", "")])
                return await self._page(given, tried=await tried(self._state, asked))
            if given.get("do") == "try":
                visit().changed_nothing = True
                return await self._page(given, tried=await self._try(given))
            await self._write(given)
        except ApiError as refusal:
            return await self._page(given, refusal.status, refusal=refusal.message)
        query = {name: given[name] for name in ("target", "made") if given.get(name)}
        return RedirectResponse(f"/rules?{urlencode(query)}", _SEE_OTHER)

    async def _try(self, given: dict[str, str]) -> Preview:
        rules = _declared(given.get("rule", ""))
        return await tried(self._state, RulesToTry(target=given.get("target", ""), rules=rules, beside=True))

    async def _write(self, given: dict[str, str]) -> None:
        match given.get("do"):
            case "make":
                target, author, reason = (given.get(name, "") for name in ("target", "author", "reason"))
                for rule in _declared(given.get("rule", "")):
                    made = await make(self._state, NewRule(target=target, rule=rule, author=author, reason=reason))
                    given["made"] = made.id or ""
            case "remove":
                await remove(self._state, given.get("id", ""), given.get("author", ""), given.get("reason", ""))
            case other:
                raise ApiError(400, f"do is {other!r}: give try, make or remove")

    async def _page(
        self,
        given: dict[str, str],
        status: int = 200,
        *,
        tried: Preview | None = None,
        refusal: str = "",
        proposed: Sequence[Proposal] = (),
        choice: int = 0,
    ) -> Response:
        state = self._state
        views = state.targets()
        chosen = state.target(given.get("target", "")) or (views[0] if len(views) == 1 else None)
        rules = [rule for view in ([chosen] if chosen else views) for rule in in_force(state, view)]
        suggested = await suggestions_for(state, chosen.target.name) if chosen and given.get("suggest") else None
        return await self._render(
            "rules.html",
            status,
            names=[view.target.name for view in views],
            chosen=chosen.target.name if chosen else "",
            rules=[Line(rule, words.rule(rule.rule), await self._covered(rule)) for rule in rules],
            given=dict.fromkeys(("target", "rule", "author", "reason", "sample", "path"), "") | given,
            made=next((rule for rule in rules if rule.id and rule.id == given.get("made")), None),
            tried=tried,
            refusal=refusal,
            proposed=proposed,
            choice=choice,
            suggested=[(one, words.rule(one.rule)) for one in suggested.suggestions] if suggested else None,
            writable=state.rule_book is not None,
        )

    async def _covered(self, rule: RuleInForce) -> int:
        """Return in how many pairs and places a rule covered a difference."""
        label = parse_rules([rule.rule])[0].label
        counts = await read_counts(self._state.reader, rule.target)
        return sum(path.count for route in counts.routes for path in route.covered if path.rule == label)


async def form_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises: ApiError where it is none."""
    kind = content_kind(request)
    if kind != FORM:
        raise ApiError(415, f"content-type is {kind or 'missing'!r}: send a form, or JSON to the API")
    try:
        fields = parse_qs((await payload(request)).decode(), max_num_fields=20)
    except ValueError as error:
        raise ApiError(400, f"the form cannot be read: {error}") from error
    return {name: values[0] for name, values in fields.items()}


class _Plain(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for gigabytes once they are written out, as an error does."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return a node that is written where it stands. Raises: YAMLError."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) is not taken here: write out what it stands for")
        return super().compose_node(parent, index)


def _declared(text: str) -> list[dict[str, Any]]:
    """Return the rules that somebody wrote: one mapping, or a list of them. Raises: ApiError, saying what is wrong."""
    try:
        found: Any = _Plain(text).get_single_data()
        rules = cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])
        parse_rules(rules)
    except RecursionError:
        raise ApiError(400, "the rules are nested too deeply") from None
    except (yaml.YAMLError, RuleError, ValueError) as error:
        raise ApiError(400, " ".join(str(error).split())) from error
    return rules
