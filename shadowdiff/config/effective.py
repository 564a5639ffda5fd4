"""The configuration as it takes effect, as YAML that can be read back.

In: checked settings.  Out: every setting with its value, defaults included; passwords left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from shadowdiff.config.problem import masked

if TYPE_CHECKING:
    from shadowdiff.config.settings import Root


def effective_yaml(root: Root) -> str:
    """Return every setting as YAML; the user and password of the store's URL are masked."""
    data = root.model_dump(mode="json", exclude_none=True)
    if root.store.url is not None:
        data["store"]["url"] = masked(root.store.url)
    for hook in data.get("webhooks", []):  # the path of such a URL is a credential
        hook["url"] = "/".join([*hook["url"].split("/")[:3], "***"])
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
