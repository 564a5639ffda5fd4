"""Check the chart's mesh objects of a target: the filter with its settings, the mirror and the limits."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart.rendering import Object, of_kind, one, rendered
from tests.conftest import ROOT

lua = pytest.importorskip("lupa.luajit21")

SOURCE = (ROOT / "recorder/envoy/record.lua").read_text()
HOST = "shadowdiff.shadowdiff.svc.cluster.local"
SETTINGS = (
    "CLUSTER", "SIDE", "SAMPLE", "MAX", "TIMEOUT_MS", "ID_HEADERS", "HOSTS", "INCLUDE", "EXCLUDE", "SKIP_AGENTS",
    "SKIP_PATHS",
)  # fmt: skip


def filter_of(objects: list[Object], name: str) -> str:
    """Return the Lua code of an EnvoyFilter."""
    patch = one(objects, "EnvoyFilter", name)["spec"]["configPatches"][-1]["patch"]
    return str(patch["value"]["typed_config"]["default_source_code"]["inline_string"])


def _plain(value: Any) -> Any:
    if lua.lua_type(value) != "table":
        return value
    items = {key: _plain(part) for key, part in value.items()}
    return [items[key] for key in sorted(items)] if all(isinstance(key, int) for key in items) else items


def _settings(script: str) -> dict[str, Any]:
    """Return the filter's settings as the Lua code reads them."""
    names = ", ".join(SETTINGS)
    values = lua.LuaRuntime().execute(f"{script}\nreturn {names}")
    return dict(zip(SETTINGS, map(_plain, values), strict=True))


AS_IT_STANDS = _settings(SOURCE)


def _code(script: str) -> str:
    """Return the Lua code that follows the settings."""
    return script.partition("local MAX_ID")[2].strip()


def test_the_filter_differs_from_the_repositorys_only_in_settings() -> None:
    """Every proxy runs the same Lua code as the demo."""
    for case, name in (("istio", "shadowdiff-recommendation"), ("istio-gateway", "shadowdiff-shop")):
        assert _code(SOURCE) == _code(filter_of(rendered(case), name))


def test_every_setting_of_the_filter_comes_from_the_values() -> None:
    """A sidecar's filter has the settings of the test case, and otherwise the defaults of `recorder`."""
    expected = AS_IT_STANDS | {
        "CLUSTER": f"outbound|8081||{HOST}",
        "SKIP_PATHS": {"/healthz": True, "/status/live": True},
    }
    assert expected == _settings(filter_of(rendered("istio"), "shadowdiff-recommendation"))


def test_a_target_can_override_the_recorder() -> None:
    """A gateway's filter has the conditions, exclusions, sample rate, size limit and hosts of the target."""
    expected = AS_IT_STANDS | {
        "CLUSTER": f"outbound|8081||{HOST}",
        "SAMPLE": 0.25,
        "MAX": 65536,
        "HOSTS": ["shop.example.org"],
        "INCLUDE": [
            "GET /products/{id}",
            {"path": "/beta/*", "header": {"x-tenant": "b*"}},
            {"users": {"cookie": "session", "share": 0.1}},
        ],
        "EXCLUDE": ["/products/export"],
        "SKIP_AGENTS": ["kube-probe/", "GoogleHC/"],
        "SKIP_PATHS": {"/ping": True},
    }
    assert expected == _settings(filter_of(rendered("istio-gateway"), "shadowdiff-shop"))


def test_the_filter_reads_the_same_id_headers() -> None:
    """The filter reads the headers in `config.pairing.id_headers`."""
    objects = rendered("istio", config__pairing__id_headers=["x-own-id", "x-diff-id"])
    assert ["x-own-id", "x-diff-id"] == _settings(filter_of(objects, "shadowdiff-recommendation"))["ID_HEADERS"]


def test_empty_exclusions_exclude_nothing() -> None:
    """Empty exclusions exclude nothing, and texts with special characters stay unchanged."""
    objects = rendered("istio", recorder__skipPaths=[], recorder__skipAgents=['<&> "quoted" \\ %s'])
    settings = _settings(filter_of(objects, "shadowdiff-recommendation"))
    assert ([], ['<&> "quoted" \\ %s']) == (settings["SKIP_PATHS"], settings["SKIP_AGENTS"])


def test_each_side_has_its_own_filter() -> None:
    """v1's proxies record the primary side, and v2's proxies record the candidate side."""
    objects = rendered("both-sides")
    sides = {
        each["spec"]["workloadSelector"]["labels"]["app"]: _settings(filter_of(objects, each["metadata"]["name"]))
        for each in of_kind(objects, "EnvoyFilter")
    }
    assert {"orders-primary": "primary", "orders": "candidate"} == {app: own["SIDE"] for app, own in sides.items()}
    assert {"shop"} == {each["metadata"]["namespace"] for each in of_kind(objects, "EnvoyFilter")}


def test_at_a_gateway_the_id_is_set_before_the_recorder() -> None:
    """A header_mutation filter overwrites a forged id header.

    The route sets no id header, because a second id would differ.
    """
    objects = rendered("istio-gateway")
    patches = one(objects, "EnvoyFilter", "shadowdiff-shop")["spec"]["configPatches"]
    assert ["envoy.filters.http.header_mutation", "shadowdiff"] == [each["patch"]["value"]["name"] for each in patches]
    assert {"GATEWAY"} == {each["match"]["context"] for each in patches}
    (mutation,) = patches[0]["patch"]["value"]["typed_config"]["mutations"]["request_mutations"]
    assert {
        "header": {"key": "x-diff-id", "value": "%UNIQUE_ID%"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    } == mutation["append"]
    (route,) = one(objects, "VirtualService", "shadowdiff-shop")["spec"]["http"]
    assert "headers" not in route


def test_the_sidecar_filter_precedes_the_router_on_v1s_port() -> None:
    """The filter is the last inbound filter, so it receives v1's responses first."""
    (patch,) = one(rendered("istio"), "EnvoyFilter", "shadowdiff-recommendation")["spec"]["configPatches"]
    assert ("SIDECAR_INBOUND", 8080) == (patch["match"]["context"], patch["match"]["listener"]["portNumber"])
    assert "INSERT_BEFORE" == patch["patch"]["operation"]
    inner = patch["match"]["listener"]["filterChain"]["filter"]["subFilter"]
    assert {"name": "envoy.filters.http.router"} == inner


def test_the_mirror_copies_all_requests_with_an_id_and_a_timeout() -> None:
    """The mirror copies 100 % of the requests.

    With a lower percentage, many of v1's responses would have no v2 response to pair with.
    """
    (route,) = one(rendered("istio"), "VirtualService", "shadowdiff-recommendation")["spec"]["http"]
    assert [{"destination": {"host": HOST, "port": {"number": 8080}}}] == route["mirrors"]
    assert {"x-diff-id": "%UNIQUE_ID%"} == route["headers"]["request"]["set"]
    assert ("15s", False) == (route["timeout"], "mirrorPercentage" in route)
    (rule,) = one(rendered("gateway-api"), "HTTPRoute", "shadowdiff-orders")["spec"]["rules"]
    assert ["RequestHeaderModifier", "RequestMirror"] == [each["type"] for each in rule["filters"]]
    assert {"name": "shadowdiff", "namespace": "shadowdiff", "port": 8080} == rule["filters"][1]["requestMirror"][
        "backendRef"
    ]


def test_every_proxys_connections_to_shadowdiff_are_limited() -> None:
    """Connections and pending requests to both ports are limited, because Istio has no limits by default."""
    spec = one(rendered("istio"), "DestinationRule")["spec"]
    bounds = {each["port"]["number"]: each["connectionPool"] for each in spec["trafficPolicy"]["portLevelSettings"]}
    assert (HOST, {8080, 8081}) == (spec["host"], set(bounds))
    assert (32, 32) == (bounds[8081]["tcp"]["maxConnections"], bounds[8081]["http"]["http1MaxPendingRequests"])


def test_requests_to_v2_are_limited_and_never_retried() -> None:
    """The chart limits concurrent requests to v2 from this namespace to the configured number, and disables retries."""
    objects = rendered("istio")
    rule = one(objects, "DestinationRule", "shadowdiff-recommendation-candidate")["spec"]
    assert ("recommendation-v2.tutorial", ["."]) == (rule["host"], rule["exportTo"])
    assert 64 == rule["trafficPolicy"]["connectionPool"]["tcp"]["maxConnections"]
    route = one(objects, "VirtualService", "shadowdiff-recommendation-candidate")["spec"]
    assert (["."], {"attempts": 0}) == (route["exportTo"], route["http"][0]["retries"])


def test_each_port_is_open_to_its_callers_only() -> None:
    """The policy allows copies and records from the target's namespace, listed callers of the web port, and scrapes."""
    policies = {
        each["metadata"]["name"]: each["spec"]["rules"][0] for each in of_kind(rendered("istio"), "AuthorizationPolicy")
    }
    ports_and_sources = {
        name: (rule["to"][0]["operation"]["ports"], [each["source"] for each in rule["from"]])
        for name, rule in policies.items()
    }
    assert {
        "shadowdiff-recommendation": (["8080", "8081"], [{"namespaces": ["tutorial"]}]),
        "shadowdiff-web": (
            ["8082"],
            [
                {"namespaces": ["shadowdiff", "flagger-system"]},
                {"principals": ["cluster.local/ns/istio-system/sa/ingress"]},
            ],
        ),
        "shadowdiff-metrics": (["9090"], [{"namespaces": ["monitoring"]}]),
    } == ports_and_sources


def test_a_filter_without_a_setting_fails_to_render() -> None:
    """The chart replaces each Lua setting by a pattern, which must match exactly once."""
    for name in SETTINGS:
        assert 1 == len(re.findall(rf"(?m)^local {name} = ", SOURCE))
