"""The chart's values: what is refused, what renders what, and that every one of them is explained."""

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
    """Return the path of every map of the values that takes its own keys alone."""
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
def test_a_typo_at_any_place_is_refused(path: tuple[str | int, ...]) -> None:
    """Every map that is not Kubernetes' own or the user's is closed."""
    assert any("typoo" in fault for fault in _faults(_with_typo(path)))


def test_the_maps_that_are_closed_are_nearly_all() -> None:
    """The test above has something to try, down to a target's recorder and a setting of the configuration."""
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
    ("over", "told"),
    [
        ({"replicaCout": 2}, "replicaCout"),
        ({"targets": [A_TARGET | {"hots": ["shop"]}]}, "hots"),
        ({"targets": [A_TARGET | {"mesh": {"recorder": {"selektor": {"app": "shop"}}}}]}, "selektor"),
        ({"config": {"pairing": {"windwo": "30s"}}}, "windwo"),
        ({"config": {"store": {"url": "redis://x"}}}, "url"),
        ({"targets": [{"name": "shop", "hosts": ["shop"]}]}, "candidate"),
    ],
)
def test_helm_itself_refuses_a_typo_by_name(over: dict[str, Any], told: str) -> None:
    """As whoever installs sees it."""
    said = template("default", json.dumps(over))
    assert (1, True) == (said.code, told in said.err), said.err


REDIS = "several pods need one Redis"


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"replicaCount": 2}, REDIS),
        ({"autoscaling.enabled": True}, REDIS),
        ({"store.url": "redis://x", "store.existingSecret.name": "x"}, "leave one of them out"),
        ({"store.url": "redis://x", "redis.enabled": True}, "only for trying out"),
        ({"targets": [A_TARGET | {"mesh": {"recorder": {"enabled": True}}}]}, "set istio.enabled=true"),
        (
            {"istio.enabled": True, "targets": [A_TARGET | {"mesh": {"recorder": {"enabled": True}}}]},
            "mesh.recorder.selector is empty",
        ),
        (
            {"istio.enabled": True, "targets": [A_TARGET | {"mesh": {"candidateRecorder": {"enabled": True}}}]},
            "mesh.candidateRecorder.selector is empty",
        ),
        ({"ingress.enabled": True, "ingress.hosts": ["x.example.org"]}, "nothing says who may come in"),
        ({"ingress.enabled": True, "config.access.anonymous": "read"}, "ingress.hosts is empty"),
        ({"httpRoute.enabled": True, "config.access.anonymous": "read"}, "httpRoute.parentRefs is empty"),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(over: dict[str, Any], told: str) -> None:
    """Before anything is installed."""
    said = template("default", json.dumps(over))
    assert (1, True) == (said.code, told in said.err), said.err


def test_the_defaults_are_what_the_schema_takes() -> None:
    """Every key of values.yaml is in the schema, and every key of the schema's in values.yaml."""
    assert [] == _faults(VALUES)
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)
    for name, schema in SCHEMA["properties"].items():
        if schema.get("additionalProperties") is False and name != "config":
            assert set(schema["properties"]) == set(VALUES[name]), name


def test_the_schema_is_that_of_the_settings() -> None:
    """A setting that is new in the configuration is one that the chart takes."""
    command = [sys.executable, "scripts/draw_values_schema.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_disabled_renders_nothing() -> None:
    """Without what has a switch, three objects are left."""
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
    "redis-for-trying-out": {
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
    """What is not asked for is not there."""
    assert DEFAULTS | ADDS[case] == kinds(rendered(case))


def test_every_case_is_held_by_a_test() -> None:
    """A new values file under ci/ says what it renders."""
    assert {*ADDS, "nothing-optional", "extras"} == set(CASES)


def test_one_switch_takes_every_recorder_away() -> None:
    """recorder.enabled=false leaves the mirror and the bounds, and no filter in anybody's proxy."""
    assert "EnvoyFilter/shadowdiff-orders" in kinds(rendered("both-sides"))
    assert DEFAULTS | {"DestinationRule/shadowdiff"} == kinds(rendered("both-sides", recorder__enabled=False))


def _documented() -> set[str]:
    return set(re.findall(r"^\| `([A-Za-z0-9_.\[\]]+)` \|", README, re.MULTILINE))


def _leaves(value: Any, path: str) -> list[str]:
    """Return every value's dotted name, as deep as it has names of its own."""
    if isinstance(value, dict) and value and path not in _documented():
        items = cast("dict[str, Any]", value).items()
        return [leaf for name, inner in items for leaf in _leaves(inner, f"{path}.{name}" if path else name)]
    return [path]


def _mesh_leaves(schema: dict[str, Any], path: str) -> list[str]:
    if schema.get("additionalProperties") is False and path not in _documented():
        return [leaf for name, inner in schema["properties"].items() for leaf in _mesh_leaves(inner, f"{path}.{name}")]
    return [path]


def test_every_value_is_documented() -> None:
    """By its own row in the README, or by that of a map that is Kubernetes' own."""
    leaves = {*_leaves(VALUES, ""), *_mesh_leaves(SCHEMA["$defs"]["Mesh"], "targets[].mesh")}
    assert set() == leaves - _documented()


def test_every_documented_value_exists() -> None:
    """No row for what the chart does not take, and each with the default that it has."""
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


def test_each_case_is_in_the_readme() -> None:
    """Whoever looks for an example finds it."""
    assert set(CASES) == set(re.findall(r"ci/([a-z-]+)-values\.yaml", README))


def test_a_package_holds_what_the_links_name(tmp_path: Any) -> None:
    """`helm package` follows them, and its archive renders as the folder does."""
    packed = helm("package", CHART, "--destination", tmp_path)
    assert packed.code == 0, packed.err
    archive = next(tmp_path.glob("shadowdiff-*.tgz"))
    said = helm("template", "shadowdiff", archive, "--namespace", "shadowdiff", "--values", values_file("istio"))
    assert template("istio").out == said.out
