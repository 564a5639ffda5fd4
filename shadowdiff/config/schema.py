"""The JSON Schema of the configuration, for editors, and the effective configuration as YAML.

The schema rejects unknown keys, as the loader does. Only the loader checks constraints between two settings, and the
syntax of rule paths.
"""

from __future__ import annotations

from typing import Any

import yaml

from shadowdiff.config.problem import masked
from shadowdiff.config.settings import Root
from shadowdiff.config.value_types import DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text
from shadowdiff.rules import rule_schema


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration file."""
    schema = Root.model_json_schema()
    target = schema["$defs"]["TargetSettings"]["properties"]
    target["rules"]["items"] = {"$ref": "#/$defs/Rule"}
    for conditions in ("include", "exclude"):  # a text is a short form
        target[conditions]["items"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/ConditionSettings"}]}
    units = {DURATION_PATTERN: duration_text, SIZE_PATTERN: size_text}
    for part in (schema, *schema["$defs"].values()):
        for setting in part.get("properties", {}).values():
            if "default" in setting and (as_text := units.get(setting.get("pattern"))):
                setting["default"] = as_text(setting["default"])
    schema["$defs"]["Rule"] = rule_schema()
    schema["title"] = "shadowdiff configuration"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def effective_yaml(root: Root) -> str:
    """Return every setting, including defaults, as YAML that can be loaded again. Passwords are masked."""
    data = root.model_dump(mode="json", by_alias=True, exclude_none=True)
    if root.store.url is not None:
        data["store"]["url"] = masked(root.store.url)
    for hook in data.get("webhooks", []):  # the path of a webhook's URL is a credential
        hook["url"] = "/".join([*hook["url"].split("/")[:3], "***"])
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
