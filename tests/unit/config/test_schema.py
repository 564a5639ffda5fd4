"""The JSON Schema, the chart's schema and the reference in the docs match the settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
import yaml

from shadowdiff.config.schema import config_schema
from shadowdiff.config.target_settings import TargetSettings
from shadowdiff.config.validate import keys_at
from shadowdiff.model import Candidate, Control, Target
from shadowdiff.rules import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "configuration.md").read_text()
_SECTIONS = [(), *((name,) for name in keys_at(()) if name not in {"drain", "webhooks"})]
_INNER = [("access", "proxy"), *(("tls", port) for port in ("mirror", "records", "web", "metrics"))]
_SENT = [("targets", 0, side, part) for side in ("candidate", "control") for part in ("headers", "limits", "query")]
_PLACES = [
    *_SECTIONS,
    *(("targets", 0, name) for name in ("candidate", "control", "gate", "headers", "noise", "protobuf")),
    *_SENT,
    *(("targets", 0, name, 0, *users) for name in ("include", "exclude") for users in ((), ("users",))),
    ("access", "tokens", 0),
    ("webhooks", 0),
    *_INNER,
]


def example() -> dict[str, Any]:
    return yaml.safe_load(DOCS.split("```yaml\n")[1].split("```")[0])


def test_the_documented_example_is_valid() -> None:
    """The schema accepts the example of the docs."""
    jsonschema.validate(example(), config_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "path",
    [("windw",), ("pairing", "windw"), ("targets", 0, "candidate", "timout"), ("targets", 0, "rules", 0, "reson")],
)
def test_an_unknown_key_is_rejected(path: tuple[str | int, ...]) -> None:
    """Unknown keys are rejected at every level, also in rules."""
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
def test_a_wrong_value_is_rejected(section: str, key: str, value: object) -> None:
    """An editor then marks a duration without a unit."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({section: {key: value}}, config_schema(), jsonschema.Draft202012Validator)


def test_the_exported_schema_is_current() -> None:
    """The file in schemas/ is what `shadowdiff check-config --schema` prints."""
    assert config_schema() == json.loads((ROOT / "schemas" / "config.schema.json").read_text())


def test_no_derived_file_is_stale() -> None:
    """`scripts/draw_settings.py` was run after the last change of a setting."""
    command = [sys.executable, str(ROOT / "scripts" / "draw_settings.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (checked.returncode, checked.stderr)


def test_every_field_of_a_target_has_a_setting() -> None:
    """A field without a setting would silently keep its default."""
    edits = {"set": {"x": "1"}, "replace": {"y": "2"}, "remove": ["z"]}
    sent = {"timeout": "1s", "headers": edits, "query": edits, "path_prefix": {"/a": "/b"}, "server_name": "v2"}
    sent |= {"ca": "a", "cert": "b", "cert_key": "c", "limits": {"rate": 1, "concurrency": 2}}
    given = example()["targets"][0] | {
        "control": {"url": "http://c", "sample": 0.5} | sent,
        "candidate": {"url": "http://v2", "queue_timeout": "2s", "concurrency": 3, "queue": 4}
        | sent
        | {"host": "preserve", "revision_header": "x-rev", "revalidate": 0.5},
        "gate": {"max_mismatch_ratio": 0.5, "min_coverage": 0.25, "max_p99_increase": "5ms"},
        "noise": {"learn": 77},
        "headers": {"compare": ["date"], "exclude": ["x-a"]},
        "sample": 0.5,
        "methods": ["POST"],
        "include": ["/a"],
        "exclude": [{"users": {"cookie": "c", "share": 0.5}}],
        "routes": ["/a"],
        "body_types": {"/a": "application/json"},
        "graphql": ["/graphql"],
        "causes": False,
        "built_in_rules": {"own_origin": False, "same_document": True},
    }
    target = TargetSettings.model_validate(given).target(())
    defaults = Target(name="", hosts=(), candidate=Candidate(url=""), control=Control(url=""))
    assert [] == sorted(_unchanged(target, defaults))


def _unchanged(value: msgspec.Struct, default: msgspec.Struct) -> Iterator[str]:
    for name in value.__struct_fields__:
        mine, other = getattr(value, name), getattr(default, name)
        if isinstance(mine, msgspec.Struct):
            yield from _unchanged(mine, other)
        elif mine == other:
            yield name


def test_every_rule_kind_is_in_the_schema() -> None:
    """Editors can then complete every kind."""
    assert KINDS.keys() <= set(config_schema()["$defs"]["Rule"]["properties"])


@pytest.mark.parametrize("path", _PLACES)
def test_every_setting_is_documented(path: tuple[str | int, ...]) -> None:
    """docs/configuration.md has a row with the full path of each setting."""
    prefix = "".join("[]." if isinstance(part, int) else f"{part}." for part in path).replace(".[]", "[]")
    if path == ("targets",):
        prefix = "targets[]."
    names = [key for key in keys_at(path) if (*path, key) not in _nested()]
    assert [] == [f"{prefix}{key}" for key in names if f"| `{prefix}{key}` |" not in DOCS]


def _nested() -> set[tuple[str | int, ...]]:
    """Return the keys that contain other settings, which have rows instead."""
    return {
        *_SECTIONS,
        *(("targets", name) for name in ("candidate", "control", "gate", "headers", "noise", "protobuf")),
        *(("targets", 0, name, 0, "users") for name in ("include", "exclude")),
        *_INNER,
        *_SENT,
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
            if "anyOf" in inner["items"]:  # an entry may be a text
                yield path, "–"
            yield from _declared(items, f"{path}[].")
        elif name in schema.get("required", ()):
            yield path, "required"
        else:
            default = inner.get("default")
            said = default if isinstance(default, str) else json.dumps(default)
            yield path, "–" if default in (None, [], {}, "") else f"`{said}`"


def _followed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its reference resolved."""
    referring = next((one for one in (schema, *schema.get("anyOf", ())) if "$ref" in one), None)
    if referring is None:
        return schema
    named = config_schema()["$defs"][referring["$ref"].rpartition("/")[2]]
    return _followed({**named, **{key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}})


def test_every_default_in_the_reference_is_correct() -> None:
    """Every row of the reference also has a setting."""
    rows = re.findall(r"^\| `([a-z0-9_.\[\]]+)` \| [^|]+ \| ([^|]*) \| [^|]+ \|$", DOCS, re.MULTILINE)
    assert dict(_declared(config_schema())) == dict(rows)
