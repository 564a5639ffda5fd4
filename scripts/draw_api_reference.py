"""Write docs/api-reference.md: every operation of the API, by the declarations that its routes are made of.

In: the operations.  Out: the file; with --check, exit 1 where it is another.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.operation import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.web.operation import Operation, Parameter

FILE = Path(__file__).parents[1] / "docs" / "api-reference.md"
HEAD = """\
# Every operation of the API

Made by `scripts/draw_api_reference.py` of the declarations that the routes are made of, and held to them by a test;
`/api/v1/openapi.json` has the shapes of bodies and answers. What the numbers mean is in [the API](api.md).

Where [access](access.md) is configured, each operation is refused with 401 without credentials and with 403 without the
role; while the store does not answer, those that read it are refused with 503. A refusal is `{"error": "…"}`. *hooks*
need a token of their own.
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
        yield from ("| parameter | in | type | if left out | means |", "|---|---|---|---|---|")
        yield from (_row(parameter) for parameter in operation.parameters)
        yield ""
    if isinstance(operation.body, type) and issubclass(operation.body, msgspec.Struct):
        fields = msgspec.structs.fields(operation.body)
        told = (f"`{field.encode_name}`" + ("" if field.required else " (may be left out)") for field in fields)
        yield f"Body: {', '.join(told)}.\n"
    if operation.refuses:
        yield "Refuses: " + "; ".join(f"{status} {reason}" for status, reason in operation.refuses.items()) + ".\n"


def _row(parameter: Parameter) -> str:
    said = "required" if parameter.required or parameter.where == "path" else _given(parameter.default)
    kind = " ".join(f"`{choice}`" for choice in parameter.choices) or parameter.type
    if parameter.minimum is not None and parameter.maximum is not None:
        kind += f", {parameter.minimum:,g} to {parameter.maximum:,g}"
    return f"| `{parameter.name}` | {parameter.where} | {kind} | {said} | {_cell(parameter.description)} |"


def _given(default: object) -> str:
    return "–" if default is None else f"`{default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(FILE.read_text(encoding="utf-8") != reference())
    FILE.write_text(reference(), encoding="utf-8")
