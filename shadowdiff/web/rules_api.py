"""API operations on rules: list, add, remove, preview and suggest rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from shadowdiff.rule_changes import changes
from shadowdiff.rule_changes.preview import Preview
from shadowdiff.rule_changes.suggestions import Suggestions, suggest_rules
from shadowdiff.web.operation import NO_TARGET, TARGET, Arguments, Operation, Parameter, limit_parameter
from shadowdiff.web.request_context import audit, author_of, read_json, required_author

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.layout import WebParts

_REASON_CHARS: Final = 1000


async def add_rule(rules: changes.RuleChanges, new: changes.NewRule) -> changes.RuleInForce:
    """Add a rule, and audit the change. Raises: RequestError."""
    added = await rules.add(new, author_of(new.author))
    audit("rule added", added.target, **_details(added))
    return added


async def remove_rule(rules: changes.RuleChanges, rule_id: str, author: str, reason: str) -> changes.RuleInForce:
    """Remove an added rule, and audit the change. Raises: RequestError."""
    author = required_author(author)
    removed = await rules.remove(rule_id)
    audit("rule removed", removed.target, **_details(removed), by=author, removal_reason=reason[:_REASON_CHARS])
    return removed


def _details(one: changes.RuleInForce) -> dict[str, Any]:
    rule = msgspec.json.encode(one.rule).decode()
    return {"rule_id": one.id, "rule": rule, "author": one.author, "reason": one.reason}


async def _get_rules(web: WebParts, given: Arguments, _request: Request) -> changes.RulesInForce | Response:
    if given["format"] == "yaml":
        return Response(await web.rules.as_yaml(given["target"]), media_type="application/yaml")
    found = await web.rules.all_in_force(given["target"])
    rules = [one for of_target in found.values() for one in of_target]
    return changes.RulesInForce(rules, web.rules.built_in(given["target"]))


async def _post_rule(web: WebParts, _given: Arguments, request: Request) -> changes.RuleInForce:
    return await add_rule(web.rules, await read_json(request, changes.NewRule))


async def _post_preview(web: WebParts, given: Arguments, request: Request) -> Preview:
    return await web.rules.preview(await read_json(request, changes.PreviewRequest), given["limit"])


_WRITE_ERRORS: Final = {
    403: "The caller's role, address or origin does not allow this",
    501: "This service does not store rules",
}
_BUSY: Final = {503: "Too many requests of this kind are waiting"}

RULE_OPERATIONS: Final = (
    Operation(
        "/rules",
        "The rules in force: the rules of the configuration, the rules that users added, and the built-in rules",
        _get_rules,
        changes.RulesInForce,
        (
            Parameter("target", "return only the rules of this target"),
            Parameter("format", "json, or the yaml of the configuration", default="json", choices=("json", "yaml")),
        ),
        also=("application/yaml",),
        refuses={
            400: "An argument is wrong",
            404: "There is no such target",
            422: "Writing the rules takes too long",
            **_BUSY,
        },
    ),
    Operation(
        "/rules",
        "Add a rule. All replicas apply it within 5 s, and a new run starts",
        _post_rule,
        changes.RuleInForce,
        method="POST",
        body=changes.NewRule,
        name="add-rule",
        refuses={
            400: "The rule is invalid",
            404: "There is no such target",
            409: "There are too many rules, or the rule changes none of the stored samples and is not confirmed",
            **_WRITE_ERRORS,
        },
    ),
    Operation(
        "/rules/{id}",
        "Remove a rule that a user added",
        lambda web, given, _: remove_rule(web.rules, given["id"], given["author"] or "", given["reason"] or ""),
        changes.RuleInForce,
        (
            Parameter("id", "the rule's id", where="path", required=True),
            Parameter("author", "the name of the user who removes the rule; not needed with a token, login or proxy"),
            Parameter("reason", "why the user removes the rule"),
        ),
        method="DELETE",
        name="remove-rule",
        refuses={400: "The author is missing", 404: "There is no such rule", **_WRITE_ERRORS},
    ),
    Operation(
        "/rules/preview",
        "Preview rules on the stored samples: the results without and with the rules",
        _post_preview,
        Preview,
        (
            limit_parameter(
                "how many of the newest samples to read",
                default=changes.PREVIEWED_SAMPLES,
                maximum=changes.MAX_PREVIEWED_SAMPLES,
            ),
        ),
        method="POST",
        body=changes.PreviewRequest,
        role="read",
        name="preview-rules",
        refuses={400: "A rule is invalid", 404: "There is no such target", 422: "The preview takes too long", **_BUSY},
    ),
    Operation(
        "/suggestions",
        "Suggested rules for places that have a new value in each response or that mirroring changes, and suggested "
        "body types; what each would ignore",
        lambda web, given, _: suggest_rules(web.rules, given["target"]),
        Suggestions,
        (TARGET,),
        refuses=NO_TARGET | {422: "The search takes too long"} | _BUSY,
    ),
)
