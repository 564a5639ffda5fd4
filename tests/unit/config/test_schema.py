"""The JSON Schema for editors, and the reference in the docs, held against the settings themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from shadowdiff.config.refusal import keys_at
from shadowdiff.config.schema import config_schema
from shadowdiff.rules import RuleKind

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "configuration.md").read_text()
_SECTIONS = [(), *((name,) for name in keys_at(()) if name not in {"drain", "webhooks"})]
_INNER = [("access", "proxy"), *(("tls", port) for port in ("mirror", "records", "web", "metrics"))]
_PLACES = [
    *_SECTIONS,
    *(("targets", 0, name) for name in ("candidate", "control", "gate", "noise", "protobuf")),
    ("access", "tokens", 0),
    ("webhooks", 0),
    *_INNER,
]


def example() -> dict[str, Any]:
    return yaml.safe_load(DOCS.split("```yaml\n")[1].split("```")[0])


def test_the_documented_example_is_valid() -> None:
    """The schema takes what the docs show."""
    jsonschema.validate(example(), config_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "path",
    [("windw",), ("pairing", "windw"), ("targets", 0, "candidate", "timout"), ("targets", 0, "rules", 0, "reson")],
)
def test_a_typo_is_refused(path: tuple[str | int, ...]) -> None:
    """A key that is no setting fails at every level, in rules too."""
    data: Any = example()
    here = data
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = 1
    with pytest.raises(jsonschema.ValidationError, match=str(path[-1])):
        jsonschema.validate(data, config_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("section", "key", "value"), [("pairing", "window", 30), ("pairing", "window", "30"), ("store", "url", 5)]
)
def test_a_wrong_value_is_refused(section: str, key: str, value: object) -> None:
    """A duration without a unit is underlined in the editor."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({section: {key: value}}, config_schema(), jsonschema.Draft202012Validator)


def test_the_exported_schema_is_the_current_one() -> None:
    """`shadowdiff check-config --schema > schemas/config.schema.json` was run after the last change."""
    assert config_schema() == json.loads((ROOT / "schemas" / "config.schema.json").read_text())


def test_every_kind_of_rule_has_its_place_in_the_schema() -> None:
    """A kind that the rules know is completed by editors."""
    assert {str(kind) for kind in RuleKind} <= set(config_schema()["$defs"]["Rule"]["properties"])


@pytest.mark.parametrize("path", _PLACES)
def test_every_setting_is_documented(path: tuple[str | int, ...]) -> None:
    """docs/configuration.md names each setting with its whole path."""
    prefix = "".join("[]." if isinstance(part, int) else f"{part}." for part in path).replace(".[]", "[]")
    if path == ("targets",):
        prefix = "targets[]."
    names = [key for key in keys_at(path) if (*path, key) not in _nested()]
    assert [] == [f"{prefix}{key}" for key in names if f"| `{prefix}{key}` |" not in DOCS]


def _nested() -> set[tuple[str | int, ...]]:
    """Return the keys that hold further settings, and are documented by those."""
    return {
        *_SECTIONS,
        *(("targets", name) for name in ("candidate", "control", "gate", "noise", "protobuf")),
        *_INNER,
        ("access", "tokens"),
        ("webhooks",),
    }


def _declared(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each setting's path, and its default as the reference writes it."""
    for name, given in schema["properties"].items():
        inner, path = _followed(given), f"{prefix}{name}"
        items = _followed(inner["items"]) if inner.get("type") == "array" and name != "rules" else {}
        if "properties" in inner:
            yield from _declared(inner, f"{path}.")
        elif "properties" in items:
            yield from _declared(items, f"{path}[].")
        elif name in schema.get("required", ()):
            yield path, "required"
        else:
            default = inner.get("default")
            said = default if isinstance(default, str) else json.dumps(default)
            yield path, "–" if default in (None, [], {}, "") else f"`{said}`"


def _followed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what it refers to in its place."""
    referring = next((one for one in (schema, *schema.get("anyOf", ())) if "$ref" in one), None)
    if referring is None:
        return schema
    named = config_schema()["$defs"][referring["$ref"].rpartition("/")[2]]
    return _followed({**named, **{key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}})


def test_every_default_in_the_reference_is_the_one_that_holds() -> None:
    """And no row is of a setting that there is not."""
    rows = re.findall(r"^\| `([a-z0-9_.\[\]]+)` \| ([^|]*) \| [^|]+ \|$", DOCS, re.MULTILINE)
    assert dict(_declared(config_schema())) == dict(rows)
