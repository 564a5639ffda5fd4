"""Validate objects strictly against Kubernetes' schemas, and custom resources against their schemas if available.

An unknown kind is an error. This repository does not contain the schemas of custom resources. The tests read these
schemas from the folder in SHADOWDIFF_CRD_SCHEMAS, by default shared/schemas next to the clone.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import kubernetes_validate.utils as kubernetes
import referencing

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.chart.rendering import Object

OLDEST = 27
CUSTOM = frozenset(
    {
        "networking.istio.io/v1alpha3/EnvoyFilter",
        "networking.istio.io/v1/DestinationRule",
        "networking.istio.io/v1/VirtualService",
        "security.istio.io/v1/AuthorizationPolicy",
        "gateway.networking.k8s.io/v1/HTTPRoute",
        "gateway.networking.k8s.io/v1beta1/ReferenceGrant",
        "monitoring.coreos.com/v1/ServiceMonitor",
        "monitoring.coreos.com/v1/PrometheusRule",
        "route.openshift.io/v1/Route",
        "grafana.integreatly.org/v1beta1/GrafanaDashboard",
        "flagger.app/v1beta1/Canary",
        "argoproj.io/v1alpha1/AnalysisTemplate",
        "argoproj.io/v1alpha1/Rollout",
    }
)


def versions() -> list[str]:
    """Return each Kubernetes version from 1.27 on that has schemas."""
    minors = {kubernetes.major_minor(version) for version in kubernetes.all_versions()}
    return sorted((each for each in minors if int(each.partition(".")[2]) >= OLDEST), key=lambda v: int(v[2:]))


def is_custom(thing: Object) -> bool:
    """Return whether the object's kind is a known custom resource."""
    return f"{thing['apiVersion']}/{thing['kind']}" in CUSTOM


def faults_of_core(thing: Object, version: str) -> list[str]:
    """Return the object's violations of Kubernetes' schema; an unknown key is a violation.

    kubernetes_validate.validate does the same, but takes 50 ms per object to read 2 MB of definitions.
    """
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", thing["apiVersion"])
    try:
        schema = _contents(version, f"{thing['kind'].lower()}-{group}")
    except FileNotFoundError:
        return [f"Kubernetes {version} knows no {thing['kind']} of {thing['apiVersion']}"]
    validator: Any = jsonschema.Draft202012Validator(schema, registry=_registry(version))
    return [
        f"{thing['kind']} {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(thing)
    ]


def _contents(version: str, name: str) -> Any:
    full = next(each for each in kubernetes.all_versions() if kubernetes.major_minor(each) == version)
    return kubernetes.schema_contents(f"kubernetes-json-schema/v{full}-local-strict/{name}.json", version)


@functools.cache
def _registry(version: str) -> referencing.Registry[Any]:
    definitions = _contents(version, "_definitions")
    return (
        referencing.Registry[Any]()
        .with_resource(definitions["$id"], referencing.Resource.from_contents(definitions))
        .crawl()
    )


def schemas_folder() -> Path | None:
    """Return the folder that has the schemas of custom resources, or None."""
    named = os.environ.get("SHADOWDIFF_CRD_SCHEMAS")
    places = [Path(named)] if named else [above / "shared" / "schemas" for above in ROOT.parents[:2]]
    return next((place for place in places if place.is_dir()), None)


def faults_of_custom(thing: Object, folder: Path) -> list[str]:
    """Return the object's violations of its custom resource's schema."""
    file = folder / f"{thing['kind'].lower()}_{thing['apiVersion'].split('/')[-1]}.json"
    if not file.exists():
        return [f"no schema of {thing['kind']}"]
    errors = _validator(file).iter_errors(thing)
    return [f"{thing['kind']} {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


@functools.cache
def _validator(file: Path) -> Any:
    schema = json.loads(file.read_text())
    _close(schema.get("properties", {}).get("spec", {}))
    return jsonschema.Draft7Validator(schema)


def _close(schema: Any) -> None:
    """Make every object schema with listed properties reject unknown keys, because the original schemas allow them."""
    if isinstance(schema, dict):
        held = cast("dict[str, Any]", schema)
        if (
            held.get("type") == "object"
            and "properties" in held
            and not held.get("x-kubernetes-preserve-unknown-fields")
        ):
            held.setdefault("additionalProperties", False)
        for value in held.values():
            _close(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            _close(value)
