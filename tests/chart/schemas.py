"""Kubernetes' own schemas, strictly, and those of custom resources where they are at hand.

In: an object and a version.  Out: what is wrong with it, a line each.
Holds: a kind that neither knows is a fault. The schemas of custom resources are looked for in the folder that
SHADOWDIFF_CRD_SCHEMAS names, else in shared/schemas beside the clone; they are no part of it.
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
    """Return the versions of Kubernetes from 1.27 to the newest that there are schemas of."""
    minors = {kubernetes.major_minor(version) for version in kubernetes.all_versions()}
    return sorted((each for each in minors if int(each.partition(".")[2]) >= OLDEST), key=lambda v: int(v[2:]))


def is_custom(thing: Object) -> bool:
    """Whether an object is of a known custom kind."""
    return f"{thing['apiVersion']}/{thing['kind']}" in CUSTOM


def faults_of_core(thing: Object, version: str) -> list[str]:
    """Return what Kubernetes' own schema says of an object, strictly.

    As kubernetes_validate.validate does, which reads and crawls 2 MB of definitions for each object anew (50 ms).
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
    """Return the folder with schemas of custom resources; None where there is none."""
    named = os.environ.get("SHADOWDIFF_CRD_SCHEMAS")
    places = [Path(named)] if named else [above / "shared" / "schemas" for above in ROOT.parents[:2]]
    return next((place for place in places if place.is_dir()), None)


def faults_of_custom(thing: Object, folder: Path) -> list[str]:
    """Return what the schema of a custom resource says of an object."""
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
    """Refuse unknown keys in every object that lists its own: these schemas leave them open."""
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
