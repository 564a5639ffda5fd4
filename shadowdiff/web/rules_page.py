"""The page of rules: those in force, a place to try and to make one, and a way to take one back.

In: plain forms, since nothing runs on these pages.  Out: HTML, or a way back to the page after a change.
Holds: every form passed the `Entry` before it comes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import parse_qs, quote

import yaml
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shadowdiff.rules import RuleError, parse_rules
from shadowdiff.web.operation import ApiError
from shadowdiff.web.rules import NewRule, RulesToTry, in_force, make, payload, remove, tried
from shadowdiff.web.visit import visit
from shadowdiff.web.writes import FORM, content_kind

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.preview import Preview
    from shadowdiff.web.state import WebState

_SEE_OTHER: Final = 303


class Render(Protocol):
    """Lays out a template."""

    async def __call__(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return the page."""
        ...


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
        """Answer the rules in force, and an empty form."""
        if self._state.rule_book and not self._state.rule_book.looked.is_set():
            await self._state.rule_book.look()
        target = request.query_params.get("target", "")
        return await self._page({"target": target} if self._state.target(target) else {})

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
        return RedirectResponse(f"/rules?target={quote(given.get('target', ''), safe='')}", _SEE_OTHER)

    async def _try(self, given: dict[str, str]) -> Preview:
        rules = _declared(given.get("rule", ""))
        return await tried(self._state, RulesToTry(target=given.get("target", ""), rules=rules, beside=True))

    async def _write(self, given: dict[str, str]) -> None:
        match given.get("do"):
            case "make":
                target, author, reason = (given.get(name, "") for name in ("target", "author", "reason"))
                for rule in _declared(given.get("rule", "")):
                    await make(self._state, NewRule(target=target, rule=rule, author=author, reason=reason))
            case "remove":
                if not given.get("author", "").strip():
                    raise ApiError(400, "say who takes the rule back")
                await remove(self._state, given.get("id", ""), given["author"], given.get("reason", ""))
            case other:
                raise ApiError(400, f"do is {other!r}: give try, make or remove")

    async def _page(
        self, given: dict[str, str], status: int = 200, *, tried: Preview | None = None, refusal: str = ""
    ) -> Response:
        views = self._state.targets()
        return await self._render(
            "rules.html",
            status,
            names=[view.target.name for view in views],
            rules=[(rule, _written(rule.rule)) for view in views for rule in in_force(self._state, view)],
            given=dict.fromkeys(("target", "rule", "author", "reason"), "") | given,
            tried=tried,
            refusal=refusal,
            writable=self._state.rule_book is not None,
        )


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


def _declared(text: str) -> list[dict[str, Any]]:
    """Return the rules that somebody wrote: one mapping, or a list of them. Raises: ApiError, saying what is wrong."""
    try:
        found: Any = yaml.safe_load(text)
        rules = cast("list[dict[str, Any]]", found if isinstance(found, list) else [found])
        parse_rules(rules)
    except (yaml.YAMLError, RuleError) as error:
        raise ApiError(400, " ".join(str(error).split())) from error
    return rules


def _written(rule: dict[str, Any]) -> str:
    return yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=1000, allow_unicode=True).strip()
