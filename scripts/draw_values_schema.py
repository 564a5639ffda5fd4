"""Write charts/shadowdiff/values.schema.json: the chart's values, and in them the configuration's settings.

Maps reject unknown keys, except those of Kubernetes and those with the user's names. With --check it exits with 1 if
the file is stale.
"""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

from derived_files import ROOT, write_or_check

from shadowdiff.config.schema import config_schema
from shadowdiff.config.value_types import Role

FILE = ROOT / "charts" / "shadowdiff" / "values.schema.json"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
YES_NO: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
NAMES: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
KUBERNETES: Schema = {"type": "object"}
"""A map with keys of Kubernetes, which checks them."""
LIST: Schema = {"type": "array", "items": {"type": "object"}}
COUNT: Schema = {"type": "integer", "minimum": 0}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
SOME: Schema = {"type": "integer", "minimum": 1}
DURATION: Schema = {"type": "string", "pattern": r"^[0-9]+(ms|s|m|h)$"}
AMOUNT: Schema = {"type": ["string", "integer"]}
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9.]+([KMGT]i?)?$"}
PULL: Schema = {"enum": ["Always", "IfNotPresent", "Never"]}


def closed(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """Return the schema of a map with these keys and no others."""
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": list(required)} if required else {})


SECRET = closed(name=TEXT, key=TEXT)
WHOLE_SECRET = closed(("name", "key"), name=TEXT, key=TEXT)
PEERS = closed(**{"from": LIST})
WHO = closed(namespaces=TEXTS, principals=TEXTS)
BOUNDS = closed(maxConnections=SOME, maxPending=SOME, maxRequests=SOME, connectTimeout=DURATION)
RECORDER = {
    "enabled": YES_NO,
    "selector": NAMES,
    "namespace": TEXT,
    "port": PORT,
    "maxBodyBytes": SOME,
    "timeoutMs": SOME,
    "skipAgents": TEXTS,
    "skipPaths": TEXTS,
}

MESH = closed(
    namespace=TEXT,
    recorder=closed(at={"enum": ["sidecar", "gateway"]}, **RECORDER),
    candidateRecorder=closed(**RECORDER),
    virtualService=closed(
        ("destination",),
        enabled=YES_NO,
        hosts=TEXTS,
        gateways=TEXTS,
        destination=closed(("host",), host=TEXT, port=PORT, subset=TEXT),
        timeout=DURATION,
        retries=KUBERNETES,
    ),
    httpRoute=closed(
        ("parentRefs", "backendRef"),
        enabled=YES_NO,
        parentRefs=LIST | {"minItems": 1},
        hostnames=TEXTS,
        backendRef=closed(("name", "port"), name=TEXT, port=PORT),
        timeout=DURATION,
    ),
    candidateLimits=closed(
        enabled=YES_NO, host=TEXT, maxConnections=SOME, maxPending=SOME, connectTimeout=DURATION
    ),
    referenceGrant=closed(enabled=YES_NO, namespaces=TEXTS),
    authorizationPolicy=closed(enabled=YES_NO, namespaces=TEXTS, principals=TEXTS),
)  # fmt: skip

OWN: Schema = {
    "nameOverride": TEXT,
    "fullnameOverride": TEXT,
    "image": closed(
        repository=TEXT,
        tag=TEXT,
        digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        pullPolicy=PULL,
    ),
    "imagePullSecrets": {"type": "array", "items": closed(("name",), name=TEXT)},
    "replicaCount": COUNT,
    "configFiles": NAMES,
    "access": closed(
        tokens={
            "type": "array",
            "items": closed(
                ("name", "secret"),
                name=TEXT,
                role={"enum": list(get_args(Role))},
                targets=TEXTS | {"minItems": 1},
                secret=WHOLE_SECRET,
            ),
        },
        records={"type": "array", "items": WHOLE_SECRET},
        hooks=SECRET,
    ),
    "store": closed(
        url=TEXT,
        existingSecret=SECRET,
        passwordSecret=SECRET,
        sentinelPasswordSecret=SECRET,
        caSecret=SECRET,
        certSecret=closed(name=TEXT),
        encryptionKeySecret=SECRET,
    ),
    "persistence": closed(enabled=YES_NO, existingClaim=TEXT, storageClassName=TEXT, accessModes=TEXTS, size=QUANTITY),
    "redis": closed(
        enabled=YES_NO,
        image=closed(repository=TEXT, tag=TEXT, pullPolicy=PULL),
        runAsUser={"type": ["integer", "null"]},
        maxmemory=TEXT,
        resources=KUBERNETES,
    ),
    "serviceAccount": closed(create=YES_NO, name=TEXT, annotations=NAMES),
    "service": closed(
        type={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        annotations=NAMES,
        labels=NAMES,
        ipFamilyPolicy={"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
        internalTrafficPolicy={"enum": ["", "Cluster", "Local"]},
    ),
    "resources": KUBERNETES,
    "podSecurityContext": KUBERNETES,
    "securityContext": KUBERNETES,
    "livenessProbe": KUBERNETES,
    "readinessProbe": KUBERNETES,
    "startupProbe": KUBERNETES,
    "preStopSleepSeconds": COUNT,
    "terminationGracePeriodSeconds": COUNT,
    "updateStrategy": KUBERNETES,
    "revisionHistoryLimit": COUNT,
    "podAnnotations": NAMES,
    "podLabels": NAMES,
    "commonLabels": NAMES,
    "nodeSelector": NAMES,
    "tolerations": LIST,
    "affinity": KUBERNETES,
    "priorityClassName": TEXT,
    "runtimeClassName": TEXT,
    "topologySpreadConstraints": LIST,
    "extraEnv": LIST,
    "extraEnvFrom": LIST,
    "extraArgs": TEXTS,
    "extraVolumes": LIST,
    "extraVolumeMounts": LIST,
    "extraContainers": LIST,
    "initContainers": LIST,
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
    "podDisruptionBudget": closed(enabled=YES_NO, minAvailable=AMOUNT, maxUnavailable=AMOUNT),
    "autoscaling": closed(
        enabled=YES_NO,
        minReplicas=SOME,
        maxReplicas=SOME,
        targetCPUUtilizationPercentage=AMOUNT,
        targetMemoryUtilizationPercentage=AMOUNT,
        metrics=LIST,
        behavior=KUBERNETES,
    ),
    "networkPolicy": closed(enabled=YES_NO, mirror=PEERS, records=PEERS, web=PEERS, metrics=PEERS, egress=LIST),
    "serviceMonitor": closed(
        enabled=YES_NO,
        namespace=TEXT,
        labels=NAMES,
        annotations=NAMES,
        interval=DURATION,
        scrapeTimeout=TEXT,
        honorLabels=YES_NO,
        relabelings=LIST,
        metricRelabelings=LIST,
    ),
    "prometheusRule": closed(
        enabled=YES_NO, namespace=TEXT, labels=NAMES, annotations=NAMES, runbookPrefix=TEXT, extraGroups=LIST
    ),
    "dashboard": closed(enabled=YES_NO, namespace=TEXT, labels=NAMES, annotations=NAMES, instanceSelector=KUBERNETES),
    "ingress": closed(enabled=YES_NO, className=TEXT, annotations=NAMES, hosts=TEXTS, tls=LIST),
    "httpRoute": closed(enabled=YES_NO, parentRefs=LIST, hostnames=TEXTS, annotations=NAMES, labels=NAMES),
    "openshift": closed(route=closed(enabled=YES_NO, host=TEXT, annotations=NAMES, labels=NAMES, tls=KUBERNETES)),
    "istio": closed(
        enabled=YES_NO,
        clusterDomain=TEXT,
        mirror=BOUNDS,
        records=BOUNDS,
        authorizationPolicy=closed(enabled=YES_NO, web=WHO, metrics=WHO),
    ),
    "recorder": closed(enabled=YES_NO, maxBodyBytes=SOME, timeoutMs=SOME, skipAgents=TEXTS, skipPaths=TEXTS),
    "test": closed(enabled=YES_NO, annotations=NAMES),
    "global": {"type": "object"},
}


GIVEN_BY_THE_CHART = {
    "StoreConfig": ("url", "key", "data_dir", "password", "ca", "cert", "cert_key", "sentinel_password"),
    "AccessConfig": ("tokens", "records", "hooks"),
}
"""Settings that name a secret or a file; the chart sets them from its own values for Secrets."""


def values_schema() -> Schema:
    """Return the schema of the chart's values."""
    config = copy.deepcopy(config_schema())
    defs: Schema = config["$defs"]
    # The chart itself sets the ports and the store.
    defs["ListenConfig"]["properties"] = {"host": defs["ListenConfig"]["properties"]["host"]}
    for part, names in GIVEN_BY_THE_CHART.items():
        for name in names:
            del defs[part]["properties"][name]
    _ = defs.pop("TokenConfig")
    defs["TargetSettings"]["properties"]["mesh"] = {"$ref": "#/$defs/Mesh"}
    defs["Mesh"] = MESH | {"description": "What the chart renders for this target; not part of the configuration."}
    targets = config["properties"].pop("targets")
    settings = closed(**{name: {"$ref": schema["$ref"]} if "$ref" in schema else schema
                         for name, schema in config["properties"].items()})  # fmt: skip
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the shadowdiff chart",
        "type": "object",
        "additionalProperties": False,
        "properties": OWN | {"targets": targets, "config": settings},
        "$defs": defs,
    }


def values_schema_text() -> str:
    """Return the text of the file."""
    return json.dumps(values_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_or_check({FILE: values_schema_text()}, "draw_values_schema.py")
