"""Test the Envoy files for users: every placeholder is explained, and every circuit breaker is set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowdiff.config import load_config
from shadowdiff.demo.environment import DemoOptions, choose_ports, placeholders, write_config
from shadowdiff.demo.envoy import files, render

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATES = ("envoy.yaml", "gateway.yaml")
PORTS = {name: 1000 + number for number, name in enumerate(choose_ports(usual=False))}


def _rendered(template: str) -> dict[str, Any]:
    return yaml.safe_load(render(files() / template, placeholders(PORTS)))


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_placeholder_is_explained(template: str) -> None:
    """The README names each placeholder."""
    explained = (files() / "README.md").read_text()
    names = set(re.findall(r"\$\{(\w+)\}", (files() / template).read_text()))

    assert names
    assert all(f"`{name}`" in explained for name in names)


@pytest.mark.parametrize("template", TEMPLATES)
def test_both_clusters_of_shadowdiff_are_bounded(template: str) -> None:
    """Connections and waiting requests have limits far below Envoy's defaults."""
    clusters = {one["name"]: one for one in _rendered(template)["static_resources"]["clusters"]}

    for name in ("shadowdiff", "shadowdiff_mirror"):
        limits = clusters[name]["circuit_breakers"]["thresholds"][0]
        assert 0 < limits["max_connections"] <= 64
        assert 0 < limits["max_pending_requests"] <= 64
        assert limits["max_retries"] == 0


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_mirrored_route_has_a_timeout(template: str) -> None:
    """The timeout ends a copy that would otherwise stay open in Envoy."""
    manager = _rendered(template)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]

    assert route["request_mirror_policies"] == [{"cluster": "shadowdiff_mirror"}]
    assert 0 < float(route["timeout"].rstrip("s")) <= 60


def test_a_missing_value_is_named() -> None:
    """The error names the placeholder without a value."""
    with pytest.raises(KeyError, match="CLIENT_PORT"):
        _ = render(files() / "envoy.yaml", {"LISTEN_ADDRESS": "127.0.0.1"})


def test_the_demo_writes_a_configuration_that_the_service_accepts(tmp_path: Path) -> None:
    """The configuration has the given target and sample limit."""
    config = load_config(write_config(tmp_path, PORTS, DemoOptions(samples=77)), {})

    assert [target.target.name for target in config.targets] == ["recommendation"]
    assert config.samples.keep == 77
