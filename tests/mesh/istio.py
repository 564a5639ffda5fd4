"""Apply the chart's objects to Envoy's configuration, as istiod would.

This module replaces only istiod, which cannot run in the tests. Envoy is real. The module translates each field in the
same way as Istio's source code. An EnvoyFilter is inserted before the router of each listener in the filter's context.
A connection pool becomes a circuit breaker. `headers.request.set` becomes a route header that overwrites.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from shadowdiff.demo.process import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Object = dict[str, Any]
LISTENERS = {"SIDECAR_INBOUND": "inbound", "GATEWAY": "gateway"}
ROUTER = "envoy.filters.http.router"
OWN_CLUSTERS = {"shadowdiff": 8081, "shadowdiff_mirror": 8080}


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    """Return the specs of all objects of one kind."""
    return [each["spec"] for each in objects if each["kind"] == kind]


def manager(listener: Object) -> Object:
    """Return a listener's HTTP connection manager."""
    return dict(listener)["filter_chains"][0]["filters"][0]["typed_config"]  # pyright: ignore[reportAny]


def apply(config: Object, objects: Sequence[Object]) -> Object:
    """Return Envoy's configuration with the chart's objects in place of all shadowdiff settings."""
    made = copy.deepcopy(config)
    listeners = made["static_resources"]["listeners"]
    for listener in listeners:
        _strip(manager(listener))
    for listener in listeners:
        for spec in of_kind(objects, "EnvoyFilter"):
            insert(manager(listener), spec, listener["name"])
    for spec in of_kind(objects, "VirtualService"):
        for route in spec["http"]:
            if "mirrors" in route:
                _apply_virtual_service(route, next(routes(manager(listeners[0]))))
    for spec in of_kind(objects, "HTTPRoute"):
        _apply_http_route(spec["rules"][0], next(routes(manager(listeners[0]))))
    bounds = of_kind(objects, "DestinationRule")[0]
    for cluster in made["static_resources"]["clusters"]:
        if cluster["name"] in OWN_CLUSTERS:
            _bound(cluster, bounds, OWN_CLUSTERS[cluster["name"]])
    return made


def _strip(own: Object) -> None:
    own["http_filters"] = [each for each in own["http_filters"] if each["name"] == ROUTER]
    for route in routes(own):
        _ = route.pop("request_headers_to_add", None)
        _ = route["route"].pop("request_mirror_policies", None)


def routes(own: Object) -> Iterator[Object]:
    """Yield the routes of a connection manager."""
    for host in own["route_config"]["virtual_hosts"]:
        yield from host["routes"]


def insert(own: Object, spec: Object, listener: str) -> None:
    """Insert the filters of an EnvoyFilter before the router if its context matches the listener."""
    for patch in spec["configPatches"]:
        assert "INSERT_BEFORE" == patch["patch"]["operation"]
        if LISTENERS[patch["match"]["context"]] == listener:
            own["http_filters"].insert(-1, patch["patch"]["value"])


def _cluster(host: str, port: int) -> str:
    return f"outbound|{port}||{host}"


def _headers(named: dict[str, str]) -> list[Object]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in named.items()
    ]


def _apply_virtual_service(spec: Object, route: Object) -> None:
    """Translate the route of a VirtualService."""
    route["request_headers_to_add"] = _headers(spec.get("headers", {}).get("request", {}).get("set", {}))
    route["route"]["timeout"] = spec["timeout"]
    mirrors = [each["destination"] for each in spec["mirrors"]]
    route["route"]["request_mirror_policies"] = [
        {"cluster": _cluster(each["host"], each["port"]["number"])} for each in mirrors
    ]
    if "retries" in spec:
        words = spec["retries"]["retryOn"].split(",")
        codes = [int(word) for word in words if word.isdigit()]
        route["route"]["retry_policy"] = {
            "retry_on": ",".join([*(word for word in words if not word.isdigit()), "retriable-status-codes"]),
            "retriable_status_codes": codes,
            "num_retries": spec["retries"]["attempts"],
        }


def _apply_http_route(rule: Object, route: Object) -> None:
    """Translate the rule of an HTTPRoute, as Istio's own translation into a VirtualService does."""
    kinds = {each["type"]: each for each in rule["filters"]}
    named = {each["name"]: each["value"] for each in kinds["RequestHeaderModifier"]["requestHeaderModifier"]["set"]}
    mirror = kinds["RequestMirror"]["requestMirror"]["backendRef"]
    host = f"{mirror['name']}.{mirror['namespace']}.svc.cluster.local"
    spec = {
        "headers": {"request": {"set": named}},
        "timeout": rule["timeouts"]["request"],
        "mirrors": [{"destination": {"host": host, "port": {"number": mirror["port"]}}}],
    }
    _apply_virtual_service(spec, route)


def _bound(cluster: Object, spec: Object, port: int) -> None:
    """Rename a cluster as Istio does, and apply a connection pool's limits to the cluster."""
    (pool,) = [
        each["connectionPool"]
        for each in spec["trafficPolicy"]["portLevelSettings"]
        if each["port"] == {"number": port}
    ]
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = _cluster(spec["host"], port)
    timeout_ms = int(pool["tcp"]["connectTimeout"].removesuffix("ms"))
    cluster["connect_timeout"] = f"{timeout_ms / 1000}s"
    cluster["circuit_breakers"] = {
        "thresholds": [
            {
                "max_connections": pool["tcp"]["maxConnections"],
                "max_pending_requests": pool["http"]["http1MaxPendingRequests"],
                "max_requests": pool["http"]["http2MaxRequests"],
            }
        ]
    }


def both_sides(config: Object, objects: Sequence[Object], v2: int, port: int) -> Object:
    """Put v2 behind its own proxy, send the mirrored copies to this proxy, and make both proxies record."""
    primary, candidate = [next(each for each in objects if each["metadata"]["name"] == name) for name in (
        "shadowdiff-orders", "shadowdiff-orders-candidate")]  # fmt: skip
    made = apply(config, [primary, *[each for each in objects if each["kind"] == "DestinationRule"]])
    resources = made["static_resources"]
    plain = apply(config, [each for each in objects if each["kind"] == "DestinationRule"])["static_resources"]
    (sidecar,) = [each for each in plain["listeners"] if each["name"] == "inbound"]
    insert(manager(sidecar), candidate["spec"], "inbound")
    sidecar["name"], sidecar["address"]["socket_address"]["port_value"] = "inbound-v2", port
    for route in manager(sidecar)["route_config"]["virtual_hosts"][0]["routes"]:
        route["route"]["cluster"] = "v2"
    resources["listeners"].append(sidecar)
    (own,) = [each for each in plain["clusters"] if each["name"] == "v1"]
    for name, number in (("v2", v2), ("v2_inbound", port)):
        resources["clusters"].append(_like(own, name, number))
    (route,) = manager(resources["listeners"][0])["route_config"]["virtual_hosts"][0]["routes"]
    route["request_headers_to_add"] = [
        {"header": {"key": "x-diff-id", "value": "%UNIQUE_ID%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]
    route["route"]["request_mirror_policies"] = [{"cluster": "v2_inbound"}]
    return made


def _like(cluster: Object, name: str, port: int) -> Object:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": HOST, "port_value": port}}}}
    return {
        **cluster,
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
