"""Check which values the chart rejects, what other values render, and that the README documents every value."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, cast

import jsonschema
import pytest
import yaml

from tests.chart.rendering import CASES, CHART, helm, kinds, rendered, template, values_file
from tests.conftest import ROOT

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
README = (CHART / "README.md").read_text()
ALWAYS = {"ConfigMap/shadowdiff", "Service/shadowdiff", "Deployment/shadowdiff"}
A_TARGET = {"name": "shop", "hosts": ["shop"], "candidate": {"url": "http://shop-v2"}}


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    return SCHEMA["$defs"][name] if name else schema


def _closed(schema: dict[str, Any], path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every map of the values that rejects unknown keys."""
    schema, found = _resolved(schema), list[tuple[str | int, ...]]()
    if schema.get("additionalProperties") is False:
        found.append(path)
    for name, inner in schema.get("properties", {}).items():
        found += _closed(inner, (*path, name))
    if "items" in schema and path[-1:] != ("rules",):
        found += _closed(schema["items"], (*path, 0))
    return found


def _faults(values: Any) -> list[str]:
    validator: Any = jsonschema.Draft7Validator(SCHEMA)
    return [error.message for error in validator.iter_errors(values)]


def _with_typo(path: tuple[str | int, ...]) -> Any:
    value: Any = {"typoo": 1}
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    return value


@pytest.mark.parametrize("path", _closed(SCHEMA), ids=lambda path: ".".join(map(str, path)) or "top")
def test_an_unknown_key_is_rejected_everywhere(path: tuple[str | int, ...]) -> None:
    """Every map rejects unknown keys, except Kubernetes' own maps and maps whose keys the user chooses."""
    assert any("typoo" in fault for fault in _faults(_with_typo(path)))


def test_most_maps_reject_unknown_keys() -> None:
    """A target's `recorder` and the settings of the configuration also reject unknown keys."""
    closed = set(_closed(SCHEMA))
    assert {
        (),
        ("targets", 0),
        ("targets", 0, "mesh", "recorder"),
        ("config", "pairing"),
        ("store", "caSecret"),
    } < closed
    assert len(closed) > 50


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"replicaCout": 2}, "replicaCout"),
        ({"targets": [A_TARGET | {"hots": ["shop"]}]}, "hots"),
        ({"targets": [A_TARGET | {"mesh": {"recorder": {"selektor": {"app": "shop"}}}}]}, "selektor"),
        ({"config": {"pairing": {"windwo": "30s"}}}, "windwo"),
        ({"config": {"store": {"url": "redis://x"}}}, "url"),
        ({"targets": [{"name": "shop", "hosts": ["shop"]}]}, "candidate"),
    ],
)
def test_helm_rejects_an_unknown_key_by_name(over: dict[str, Any], message: str) -> None:
    """Helm's error message contains the unknown key."""
    said = template("default", json.dumps(over))
    assert (1, True) == (said.code, message in said.err), said.err


REDIS = "several pods need one Redis"


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"replicaCount": 2}, REDIS),
        ({"autoscaling.enabled": True}, REDIS),
        ({"store.url": "redis://x", "store.existingSecret.name": "x"}, "remove one of them"),
        ({"store.url": "redis://x", "redis.enabled": True}, "only for trials"),
        ({"targets": [A_TARGET | {"mesh": {"recorder": {"enabled": True}}}]}, "set istio.enabled=true"),
        (
            {"istio.enabled": True, "targets": [A_TARGET | {"mesh": {"recorder": {"enabled": True}}}]},
            "mesh.recorder.selector is empty",
        ),
        (
            {"istio.enabled": True, "targets": [A_TARGET | {"mesh": {"candidateRecorder": {"enabled": True}}}]},
            "mesh.candidateRecorder.selector is empty",
        ),
        ({"ingress.enabled": True, "ingress.hosts": ["x.example.org"]}, "no value says who may use them"),
        ({"ingress.enabled": True, "config.access.anonymous": "read"}, "ingress.hosts is empty"),
        ({"httpRoute.enabled": True, "config.access.anonymous": "read"}, "httpRoute.parentRefs is empty"),
    ],
)
def test_values_that_cannot_work_are_rejected_with_the_fix(over: dict[str, Any], message: str) -> None:
    """Helm rejects the values before it installs anything."""
    said = template("default", json.dumps(over))
    assert (1, True) == (said.code, message in said.err), said.err


def test_the_schema_accepts_the_defaults() -> None:
    """The schema and values.yaml have the same keys."""
    assert [] == _faults(VALUES)
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)
    for name, schema in SCHEMA["properties"].items():
        if schema.get("additionalProperties") is False and name != "config":
            assert set(schema["properties"]) == set(VALUES[name]), name


def test_the_schema_is_current() -> None:
    """The chart accepts every new setting of the configuration."""
    command = [sys.executable, "scripts/draw_values_schema.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_disabled_renders_nothing() -> None:
    """Without optional parts, the chart renders only its three required objects."""
    assert ALWAYS == kinds(rendered("nothing-optional"))


DEFAULTS = ALWAYS | {
    "ServiceAccount/shadowdiff",
    "PodDisruptionBudget/shadowdiff",
    "NetworkPolicy/shadowdiff",
    "Pod/shadowdiff-test",
}
ADDS = {
    "default": set[str](),
    "access": set[str](),
    "targets": set[str](),
    "tls": {"ServiceMonitor/shadowdiff"},
    "external-redis": set[str](),
    "redis-url": set[str](),
    "redis-cluster": set[str](),
    "redis-sentinel": set[str](),
    "network-policy": set[str](),
    "trial-redis": {
        "Deployment/shadowdiff-redis",
        "Service/shadowdiff-redis",
        "NetworkPolicy/shadowdiff-redis",
    },
    "persistence": {"PersistentVolumeClaim/shadowdiff"},
    "autoscaling": {"HorizontalPodAutoscaler/shadowdiff"},
    "monitoring": {
        "ServiceMonitor/shadowdiff",
        "PrometheusRule/shadowdiff",
        "ConfigMap/shadowdiff-dashboard",
        "GrafanaDashboard/shadowdiff-dashboard",
    },
    "ingress": {"Ingress/shadowdiff"},
    "http-route": {"HTTPRoute/shadowdiff"},
    "openshift": {
        "Route/shadowdiff",
        "ServiceMonitor/shadowdiff",
        "PrometheusRule/shadowdiff",
        "Deployment/shadowdiff-redis",
        "Service/shadowdiff-redis",
        "NetworkPolicy/shadowdiff-redis",
    },
    "istio": {
        "DestinationRule/shadowdiff",
        "DestinationRule/shadowdiff-recommendation-candidate",
        "VirtualService/shadowdiff-recommendation",
        "VirtualService/shadowdiff-recommendation-candidate",
        "EnvoyFilter/shadowdiff-recommendation",
        "AuthorizationPolicy/shadowdiff-web",
        "AuthorizationPolicy/shadowdiff-metrics",
        "AuthorizationPolicy/shadowdiff-recommendation",
    },
    "istio-gateway": {"DestinationRule/shadowdiff", "VirtualService/shadowdiff-shop", "EnvoyFilter/shadowdiff-shop"},
    "gateway-api": {
        "DestinationRule/shadowdiff",
        "HTTPRoute/shadowdiff-orders",
        "ReferenceGrant/shadowdiff-orders",
        "EnvoyFilter/shadowdiff-orders",
    },
    "both-sides": {
        "DestinationRule/shadowdiff",
        "EnvoyFilter/shadowdiff-orders",
        "EnvoyFilter/shadowdiff-orders-candidate",
    },
    "flagger": {"DestinationRule/shadowdiff", "EnvoyFilter/shadowdiff-orders", "ReferenceGrant/shadowdiff-orders"},
    "argo": {"DestinationRule/shadowdiff", "EnvoyFilter/shadowdiff-orders"},
}


@pytest.mark.parametrize("case", ADDS)
def test_each_feature_renders_its_own_objects_and_no_other(case: str) -> None:
    """Each feature adds only its own objects to the chart's default objects."""
    assert DEFAULTS | ADDS[case] == kinds(rendered(case))


def test_every_values_file_has_a_test() -> None:
    """For each values file under ci/, this test lists the rendered objects."""
    assert {*ADDS, "nothing-optional", "extras"} == set(CASES)


def test_one_value_removes_every_recorder() -> None:
    """recorder.enabled=false removes the filter from every proxy, but not the mirror and the limits."""
    assert "EnvoyFilter/shadowdiff-orders" in kinds(rendered("both-sides"))
    assert DEFAULTS | {"DestinationRule/shadowdiff"} == kinds(rendered("both-sides", recorder__enabled=False))


def _documented() -> set[str]:
    return set(re.findall(r"^\| `([A-Za-z0-9_.\[\]]+)` \|", README, re.MULTILINE))


def _leaves(value: Any, path: str) -> list[str]:
    """Return the dotted name of every value."""
    if isinstance(value, dict) and value and path not in _documented():
        items = cast("dict[str, Any]", value).items()
        return [leaf for name, inner in items for leaf in _leaves(inner, f"{path}.{name}" if path else name)]
    return [path]


def _mesh_leaves(schema: dict[str, Any], path: str) -> list[str]:
    if schema.get("additionalProperties") is False and path not in _documented():
        return [leaf for name, inner in schema["properties"].items() for leaf in _mesh_leaves(inner, f"{path}.{name}")]
    return [path]


def test_every_value_is_documented() -> None:
    """Each value has its own row in the README, or belongs to a Kubernetes map that has a row."""
    leaves = {*_leaves(VALUES, ""), *_mesh_leaves(SCHEMA["$defs"]["Mesh"], "targets[].mesh")}
    assert set() == leaves - _documented()


def test_every_documented_value_exists() -> None:
    """Each row of the README names an existing value and its default."""
    for name, default in re.findall(r"^\| `([A-Za-z0-9_.\[\]]+)` \| (.*?) \|", README, re.MULTILINE):
        if name.startswith("targets[]."):
            schema = SCHEMA["$defs"]["TargetSettings"]
            for part in name.removeprefix("targets[].").split("."):
                schema = _resolved(schema["properties"][part])
            continue
        value: Any = VALUES
        for part in name.split("."):
            value = value[part]
        if not isinstance(value, dict) or not value:
            assert f"`{json.dumps(value)}`" == default, name


def test_each_values_file_is_in_the_readme() -> None:
    """The README links to every example of values."""
    assert set(CASES) == set(re.findall(r"ci/([a-z-]+)-values\.yaml", README))


def test_a_package_contains_the_linked_files(tmp_path: Any) -> None:
    """`helm package` follows symbolic links, so the archive renders the same objects as the folder."""
    packed = helm("package", CHART, "--destination", tmp_path)
    assert packed.code == 0, packed.err
    archive = next(tmp_path.glob("shadowdiff-*.tgz"))
    said = helm("template", "shadowdiff", archive, "--namespace", "shadowdiff", "--values", values_file("istio"))
    assert template("istio").out == said.out
