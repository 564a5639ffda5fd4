"""Write the files that are derived from the settings: both schemas, and the tables of docs/configuration.md.

With --check it writes nothing, and exits with 1 if a file is stale.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from derived_files import ROOT, write_or_check
from draw_values_schema import FILE as CHART_SCHEMA
from draw_values_schema import values_schema_text

from shadowdiff.config.schema import config_schema
from shadowdiff.config.value_types import DURATION_PATTERN, SIZE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFERENCE = ROOT / "docs" / "configuration.md"
MARK = "<!-- The rest is written by scripts/draw_settings.py from shadowdiff/config/settings.py. -->\n"
_PATTERNS = {DURATION_PATTERN: "duration", SIZE_PATTERN: "size"}
_SHORT_FORM = {"type": "string"}
"""A text in place of a section."""
_TYPES = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "map",
    "string": "text",
}


def files() -> dict[Path, str]:
    """Return the text of each derived file."""
    schema = config_schema()
    before = REFERENCE.read_text("utf-8").partition(MARK)[0]
    return {
        ROOT / "schemas" / "config.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        CHART_SCHEMA: values_schema_text(),
        REFERENCE: f"{before}{MARK}{''.join(_reference(schema))}",
    }


def _reference(schema: dict[str, Any]) -> Iterator[str]:
    """Yield a section for each part of the configuration, with a row for each setting."""
    for name, given in schema["properties"].items():
        section = _resolved(given, schema)
        is_list = section.get("type") == "array"
        items = _resolved(section["items"], schema) if is_list else section
        intro = " ".join(items["description"].split()) if "properties" in items else ""
        yield f"\n### {name}\n{'A list. Each entry: ' if is_list else ''}{intro}\n".rstrip("\n") + "\n\n"
        yield "| setting | type | default | meaning |\n|---|---|---|---|\n"
        for path, setting, default in _settings(name, given, schema, is_required=False):
            yield f"| `{path}` | {_type(setting)} | {default} | {setting['description']} |\n"


def _settings(
    path: str, given: dict[str, Any], schema: dict[str, Any], *, is_required: bool
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the path, the schema and the default of each setting at `path` and below."""
    setting = _resolved(given, schema)
    items = _resolved(setting.get("items", {}), schema) if setting.get("type") == "array" else {}
    inner = setting if "properties" in setting else items
    if "properties" in inner and not path.endswith(".rules"):
        below = f"{path}[]" if inner is items else path
        if _SHORT_FORM in setting.get("items", {}).get("anyOf", ()):
            yield path, setting, "–"
        for name, each in inner["properties"].items():
            yield from _settings(f"{below}.{name}", each, schema, is_required=name in inner.get("required", ()))
    else:
        value = setting.get("default")
        text = value if isinstance(value, str) else json.dumps(value)
        yield path, setting, "required" if is_required else "–" if value in (None, [], {}, "") else f"`{text}`"


def _resolved(given: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its reference, or the type that is not null, in its place."""
    some = [each for each in given.get("anyOf", ()) if each != {"type": "null"}]
    some = [each for each in some if each != _SHORT_FORM] or some
    given = {**some[0], **{key: value for key, value in given.items() if key != "anyOf"}} if len(some) == 1 else given
    if "$ref" not in given:
        return given
    referred = schema["$defs"][given["$ref"].rpartition("/")[2]]
    return {**referred, **{key: value for key, value in given.items() if key != "$ref"}}


def _type(setting: dict[str, Any]) -> str:
    """Return the type of a setting in a word or two, or its values or bounds."""
    pattern, kind, least = setting.get("pattern", ""), setting.get("type"), setting.get("minimum")
    values = [setting["const"]] if "const" in setting else setting.get("enum")
    if "anyOf" in setting:
        return " or ".join(_type(each) for each in setting["anyOf"])
    if values:
        return ", ".join(f"`{value}`" for value in values)
    if str(kind) in {"integer", "number"} and "maximum" in setting:
        return f"{least:,} to {setting['maximum']:,}"
    if kind == "string" and pattern.startswith("^https?"):
        return "URL"
    return _PATTERNS.get(pattern) or _TYPES[str(kind)]


if __name__ == "__main__":
    write_or_check(files(), "draw_settings.py")
