"""The rules page: rules in force with their pair counts, a form to preview and add a rule, and suggestions."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from shadowdiff.display.wording import rule_yaml
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.samples import find_sample
from shadowdiff.rule_changes.changes import NewRule, NoEffectError, PreviewRequest
from shadowdiff.rule_changes.proposals import Proposal, proposals
from shadowdiff.rule_changes.suggestions import suggest_rules
from shadowdiff.rules import parse_rules
from shadowdiff.verdict import read_counts
from shadowdiff.web.layout import SEE_OTHER
from shadowdiff.web.request_context import current_request, read_form
from shadowdiff.web.rules_api import add_rule, remove_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from shadowdiff.queries.targets import Queries
    from shadowdiff.rule_changes.changes import RuleChanges
    from shadowdiff.rule_changes.preview import Preview
    from shadowdiff.rule_changes.suggestions import Suggestions
    from shadowdiff.web.layout import Layout


async def show_rules(layout: Layout, request: Request) -> Response:
    """Return the rules in force and a form. If the query names a difference, the form contains a rule for it."""
    await layout.web.rules.ensure_read()
    query = request.query_params
    names = (
        ("target", "added", "suggest", "rule", "reason")
        if layout.queries.find(query.get("target", ""))
        else ("added", "suggest")
    )
    given = {name: query[name] for name in names if name in query}
    proposed = await _proposed(layout.queries, query.get("sample", ""), query.get("path", "")) if given else []
    if not proposed:
        return await _show_given(layout, given)
    choice = next((at for at in range(len(proposed)) if str(at) == query.get("choice")), 0)
    given |= {"rule": rule_yaml(proposed[choice].rule), "sample": query["sample"], "path": query.get("path", "")}
    try:
        preview = await _preview(layout.web.rules, given)
    except RequestError as error:
        return await _page(layout, given, error.status, error=error.message, proposed=proposed, choice=choice)
    return await _page(layout, given, preview=preview, proposed=proposed, choice=choice)


async def _show_given(layout: Layout, given: dict[str, str]) -> Response:
    """Return the page, with a preview if the query has a rule, as the links of suggestions have."""
    try:
        preview = await _preview(layout.web.rules, given) if given.get("rule") else None
    except RequestError as error:
        return await _page(layout, given, error.status, error=error.message)
    return await _page(layout, given, preview=preview)


async def change_rules(layout: Layout, request: Request) -> Response:
    """Preview, add or remove a rule, depending on the form."""
    given: dict[str, str] = {}
    rules = layout.web.rules
    try:
        given = await read_form(request)
        if given.get("do") in {"preview", "preview-removal"}:
            current_request().changed_nothing = True
            return await _page(layout, given, preview=await _preview(rules, given))
        await _write(rules, given)
    except NoEffectError as error:
        unconfirmed = error.message.partition(";")[0]
        return await _page(layout, given, error.status, unconfirmed=unconfirmed)
    except RequestError as error:
        return await _page(layout, given, error.status, error=error.message)
    query = {name: given[name] for name in ("target", "added") if given.get(name)}
    return RedirectResponse(f"/rules?{urlencode(query)}", SEE_OTHER)


async def _write(rules: RuleChanges, given: dict[str, str]) -> None:
    target, author, reason = (given.get(name, "") for name in ("target", "author", "reason"))
    match given.get("do"):
        case "add":
            for rule in await rules.parse(given.get("rule", "")):
                confirmed = bool(given.get("confirm")) and given["confirm"] == given.get("rule")
                new = NewRule(target=target, rule=rule, author=author, reason=reason, confirm=confirmed)
                given["added"] = (await add_rule(rules, new)).id or ""
        case "remove":
            await remove_rule(rules, given.get("id", ""), author, reason)
        case other:
            raise RequestError(400, f"the field `do` is {other!r}: use preview, add or remove")


async def _proposed(queries: Queries, sample_id: str, path: str) -> list[Proposal]:
    """Return rules that would cover a sample's difference at a path."""
    found = None
    with suppress(RequestError):  # the sample expired
        found = await find_sample(queries, sample_id) if sample_id else None
    counted = [one for one in found.differences if one.rule is None] if found else []
    here = next((one for one in counted if path in (one.pattern, one.path)), None)
    return proposals(here, found.route) if found and here else []


async def _preview(rules: RuleChanges, given: dict[str, str]) -> Preview:
    target = given.get("target", "")
    if given.get("do") == "preview-removal":
        removal = PreviewRequest(target=target, keep_existing=True, without=[given.get("id", "")])
        return await rules.preview(removal)
    new = await rules.parse(given.get("rule", ""))
    return await rules.preview(PreviewRequest(target=target, rules=new, keep_existing=True))


async def _page(
    layout: Layout,
    given: dict[str, str],
    status: int = 200,
    *,
    preview: Preview | None = None,
    error: str = "",
    unconfirmed: str = "",
    proposed: Sequence[Proposal] = (),
    choice: int = 0,
) -> Response:
    queries, changes = layout.queries, layout.web.rules
    views = queries.targets()
    chosen = queries.find(given.get("target", "")) or (views[0] if len(views) == 1 else None)
    rules = [rule for view in ([chosen] if chosen else views) for rule in changes.in_force(view)]
    suggested: Suggestions | None = None
    if chosen and given.get("suggest"):
        with suppress(RequestError):  # the search for suggestions can take too long
            suggested = await suggest_rules(changes, chosen.target.name)
    covered: Counter[tuple[str, str | None]] = Counter()
    built_in = changes.built_in(chosen.target.name if chosen else None)
    for target in {rule.target for rule in built_in}:
        for route in (await read_counts(queries.reader, target)).routes:
            for path in route.covered:
                covered[target, path.rule] += path.count

    def make() -> dict[str, Any]:
        listed = [(one, rule_yaml(one.rule), covered[one.target, parse_rules([one.rule])[0].label]) for one in rules]
        always = [(one, covered[one.target, one.label]) for one in built_in]
        suggestions = [(one, rule_yaml(one.rule)) for one in suggested.suggestions] if suggested else None
        types = suggested.body_types if suggested else []
        return {"rules": listed, "built_in": always, "suggestions": suggestions, "body_types": types}

    return await layout.html(
        "rules.html",
        status,
        make=make,
        names=[view.target.name for view in views],
        chosen=chosen.target.name if chosen else "",
        given=dict.fromkeys(("target", "rule", "author", "reason", "sample", "path"), "") | given,
        added=next((rule for rule in rules if rule.id and rule.id == given.get("added")), None),
        preview=preview,
        error=error,
        unconfirmed=unconfirmed,
        proposed=proposed,
        choice=choice,
        writable=changes.book is not None,
    )
