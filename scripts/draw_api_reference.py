"""Write docs/api-reference.md from the declarations of the API's operations; with --check, exit 1 if it is stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from derived_files import ROOT, write_or_check

from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.operation import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.web.operation import Operation, Parameter

FILE = ROOT / "docs" / "api-reference.md"
HEAD = """\
# API reference

Every operation of the API. `/api/v1/openapi.json` has the schemas of bodies and responses; [the API](api.md) explains
the numbers. `scripts/draw_api_reference.py` writes this page.

If [access](access.md) is configured, a request without credentials gets a 401, and one without the role a 403. If the
store is unavailable, operations that read it return 503. The body of an error is `{"error": "…"}`. Operations that need
*hooks* check a token in the payload.
"""


def reference() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(line for operation in OPERATIONS for line in _section(operation))])


def _section(operation: Operation) -> Iterator[str]:
    needs = "hooks" if operation.needs == "own" else f"`{operation.needs}`"
    changed = "".join(f"; with `{name}`: `write`" for name in operation.changes_by)
    yield f"## {operation.method} {PREFIX}{operation.path}"
    yield f"{_cell(operation.summary)}. Needs: {needs}{changed}.\n"
    if operation.parameters:
        yield from ("| parameter | in | type | default | meaning |", "|---|---|---|---|---|")
        yield from (_row(parameter) for parameter in operation.parameters)
        yield ""
    if isinstance(operation.body, type) and issubclass(operation.body, msgspec.Struct):
        fields = msgspec.structs.fields(operation.body)
        names = (f"`{field.encode_name}`" + ("" if field.required else " (optional)") for field in fields)
        yield f"Body: {', '.join(names)}.\n"
    if operation.refuses:
        yield "Errors: " + "; ".join(f"{status} {meaning}" for status, meaning in operation.refuses.items()) + ".\n"


def _row(parameter: Parameter) -> str:
    default = "required" if parameter.required or parameter.where == "path" else _default(parameter.default)
    kind = " ".join(f"`{choice}`" for choice in parameter.choices) or parameter.type
    if parameter.minimum is not None and parameter.maximum is not None:
        kind += f", {parameter.minimum:,g} to {parameter.maximum:,g}"
    return f"| `{parameter.name}` | {parameter.where} | {kind} | {default} | {_cell(parameter.description)} |"


def _default(value: object) -> str:
    return "–" if value is None else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    write_or_check({FILE: reference()}, "draw_api_reference.py")
