"""Settings that users of such tools expect have the names that the documentation gives them."""

from __future__ import annotations

import re
from pathlib import Path

from shadowdiff.config import load_config

DOCS = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
EVERYTHING = """
targets:
  - name: shop
    hosts: [shop, "*.shop.example"]
    headers: {compare: [x-total-count]}
    body_types: {"GET /legacy": application/json}
    methods: [GET, POST /search]
    candidate:
      url: https://shop-v2
      headers:
        set: {authorization: "Bearer ${V2_TOKEN}"}
        replace: {cookie: "${V2_TOKEN}"}
        remove: [if-none-match]
      query: {set: {v: "2"}, replace: {key: "${V2_TOKEN}"}, remove: [debug]}
      path_prefix: {/v1: /}
      server_name: shop.internal
      limits: {rate: 50, concurrency: 8}
    control:
      url: https://shop-v1b
      headers: {remove: [if-none-match]}
      path_prefix: {/v1: /}
      server_name: shop.internal
      limits: {rate: 50}
"""
NAMED = [
    "headers.compare", "body_types", "methods", "hosts",
    *(f"{side}.{name}" for side in ("candidate", "control")
      for name in ("headers.set", "headers.replace", "headers.remove", "query.set", "query.replace", "query.remove",
                   "path_prefix", "ca", "cert", "cert_key", "server_name", "limits.rate", "limits.concurrency")),
]  # fmt: skip


def test_each_expected_setting_is_accepted(tmp_path: Path) -> None:
    """What v2 is sent, how TLS reaches it, how much it is sent, and what is compared."""
    path = tmp_path / "s.yaml"
    path.write_text(EVERYTHING)
    assert () == load_config(path, {"V2_TOKEN": "hunter2-hunter2"}).warnings


def test_each_expected_setting_is_in_the_reference() -> None:
    """`test_destination_problems.py` tests the TLS files."""
    assert [] == [
        name for name in NAMED if not re.search(rf"^\| `targets\[\]\.{re.escape(name)}` \|", DOCS, re.MULTILINE)
    ]
