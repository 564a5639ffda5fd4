"""Check the rendered objects: configuration, secrets, pod security, network and notes."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowdiff.config import load_config
from shadowdiff.config.settings import CLUSTER_SHARDS
from tests.chart.rendering import (
    CASES,
    CHART,
    Object,
    configuration,
    helm,
    of_kind,
    one,
    rendered,
    template,
    values_file,
)
from tests.conftest import ROOT, needs_tool

if TYPE_CHECKING:
    from pathlib import Path

PORTS = {"http-mirror": 8080, "http-records": 8081, "http-web": 8082, "http-metrics": 9090}


def _pod(thing: Object) -> Object | None:
    """Return the pod template of an object, if it has one."""
    if thing["kind"] == "Pod":
        return dict(thing["spec"])
    template = thing.get("spec", {}).get("template")
    return None if template is None else dict(template["spec"])


def _pods(case: str) -> list[Object]:
    return [pod for thing in rendered(case) if (pod := _pod(thing)) is not None]


def _containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def _restricted(pod: Object) -> list[str]:
    """Return the violations of Kubernetes' restricted profile.

    Source: Kubernetes, Pod Security Standards, restricted. Each expression below checks one control of the profile.
    """
    found: list[str] = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    whole = pod.get("securityContext", {})
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
        found += [f"volume {kind}" for kind in kinds - allowed - {"secret"}]
    for container in _containers(pod):
        own = container.get("securityContext", {})
        name = container["name"]
        found += [f"{name} is privileged"] if own.get("privileged") else []
        found += [f"{name} may escalate"] if own.get("allowPrivilegeEscalation") is not False else []
        found += [f"{name} keeps capabilities"] if own.get("capabilities") != {"drop": ["ALL"]} else []
        found += [] if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True else [f"{name} may be root"]
        profile = own.get("seccompProfile", whole.get("seccompProfile", {})).get("type")
        found += [] if profile in {"RuntimeDefault", "Localhost"} else [f"{name} has no seccomp profile"]
        found += [f"{name} is root"] if 0 in {own.get("runAsUser"), whole.get("runAsUser")} else []
        found += [f"{name} has a host port" for port in container.get("ports", []) if "hostPort" in port]
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_pod_conforms_to_the_restricted_profile(case: str) -> None:
    """The pods of the service, the trial Redis and `helm test` conform to the restricted profile."""
    assert [] == [fault for pod in _pods(case) for fault in _restricted(pod)]


@pytest.mark.parametrize("case", CASES)
def test_no_pod_can_write_its_root_or_call_the_api_server(case: str) -> None:
    """Every root file system is read-only.

    Pods have resource limits, no API token, and no environment variables for Services.
    """
    for pod in _pods(case):
        assert (False, False) == (pod["automountServiceAccountToken"], pod["enableServiceLinks"])
        own = [each for each in _containers(pod) if each["name"] in {"shadowdiff", "redis", "test"}]
        assert own
        for container in own:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"requests", "limits"} == set(container["resources"])


def test_the_check_of_pods_detects_violations() -> None:
    """The profile check finds five violations in a pod that has no security settings."""
    bare = {"containers": [{"name": "x"}], "hostNetwork": True}
    assert 5 == len(_restricted(bare))


@pytest.mark.parametrize("case", CASES)
def test_the_service_runs_as_any_user_that_openshift_assigns(case: str) -> None:
    """For OpenShift's restricted-v2, the pod has no runAsUser, no fsGroup, and a writable HOME."""
    pod = next(each for each in _pods(case) if each["containers"][0]["name"] == "shadowdiff")
    container = pod["containers"][0]
    for context in (pod["securityContext"], container["securityContext"]):
        assert not {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} & set(context)
    assert {"name": "HOME", "value": "/tmp"} in container["env"]  # noqa: S108 - a volume of the pod's own
    places = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert places - {"/more"} <= {"/tmp", "/var/lib/shadowdiff"}  # noqa: S108


@pytest.mark.parametrize("case", CASES)
def test_the_service_accepts_the_configuration(case: str, tmp_path: Path) -> None:
    """The service's own code loads the rendered configuration without a warning, with the pod's files and variables."""
    objects = rendered(case)
    (held,) = [each["data"] for each in of_kind(objects, "ConfigMap") if "shadowdiff.yaml" in each.get("data", {})]
    for name, content in held.items():
        (tmp_path / name).write_text(content.replace("/etc/", f"{tmp_path}/"))
    mounted = ("shadowdiff-store/ca.crt", "shadowdiff-store-cert/tls.crt", "shadowdiff-store-cert/tls.key")
    for name in (*mounted, *(f"shadowdiff-tls/{name}" for name in ("ca.crt", "tls.crt", "tls.key"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    secrets = {
        "SHADOWDIFF_STORE__URL": "rediss://shadowdiff:secret@redis:6379/0",
        "SHADOWDIFF_STORE_KEY": base64.b64encode(bytes(32)).decode(),
    }
    pods = [each["spec"]["template"]["spec"] for each in of_kind(objects, "Deployment")]
    (container,) = [pod["containers"][0] for pod in pods if pod["containers"][0]["name"] == "shadowdiff"]
    env = {
        each["name"]: secrets.get(each["name"], "a-token-of-sixteen") if "valueFrom" in each else each["value"]
        for each in container["env"]
    }
    config = load_config(tmp_path / "shadowdiff.yaml", env)
    values: Object = yaml.safe_load(values_file(case).read_text()) or {}
    assert [each["name"] for each in values.get("targets", [])] == [each.target.name for each in config.targets]
    assert [] == [warning for warning in config.warnings if "nothing is compared" not in warning]
    assert (8080, 8081, 8082, 9090) == (
        config.listen.mirror,
        config.listen.records,
        config.listen.web,
        config.listen.metrics,
    )


def test_targets_and_settings_become_the_configuration() -> None:
    """The configuration file has the targets and settings unchanged, but not the targets' `mesh`."""
    values = yaml.safe_load(values_file("targets").read_text())
    made = configuration(rendered("targets"))
    assert values["targets"] == made["targets"]
    assert values["config"]["pairing"] == made["pairing"]
    assert not any("mesh" in target for target in configuration(rendered("istio"))["targets"])


def _checksum(**over: Any) -> str:
    annotations = one(rendered("targets", **over), "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["checksum/config"])


def test_pods_restart_only_if_the_configuration_changes() -> None:
    """The pods' annotations contain the configuration's checksum."""
    assert _checksum() == _checksum(replicaCount=1, podAnnotations={"note": "other"})
    assert _checksum() != _checksum(config__log__level="error")
    assert _checksum() != _checksum(configFiles={"orders.yaml": "openapi: 3.1.0"})


def test_secrets_are_referenced_and_appear_nowhere() -> None:
    """The URL, encryption key and CA come from existing Secrets, and the configuration contains no URL."""
    objects = rendered("external-redis")
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    by_name = {each["name"]: each.get("valueFrom", {}).get("secretKeyRef") for each in container["env"]}
    assert {"name": "shadowdiff-store", "key": "url"} == by_name["SHADOWDIFF_STORE__URL"]
    assert {"name": "shadowdiff-store", "key": "encryption-key"} == by_name["SHADOWDIFF_STORE_KEY"]
    assert {"name": "redis-user", "key": "password"} == by_name["SHADOWDIFF_STORE_PASSWORD"]
    assert {
        "prefix": "shop",
        "shards": 64,
        "username": "shadowdiff",
        "key": "SHADOWDIFF_STORE_KEY",
        "password": "SHADOWDIFF_STORE_PASSWORD",
        "ca": "/etc/shadowdiff-store/ca.crt",
        "cert": "/etc/shadowdiff-store-cert/tls.crt",
        "cert_key": "/etc/shadowdiff-store-cert/tls.key",
    } == configuration(objects)["store"]
    assert [] == of_kind(objects, "Secret")
    volumes = {each["name"]: each for each in one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert ("redis-ca", "shadowdiff-redis-client") == (
        volumes["store-ca"]["secret"]["secretName"],
        volumes["store-cert"]["secret"]["secretName"],
    )


def test_a_cluster_and_sentinels_can_be_the_store(tmp_path: Path) -> None:
    """One Redis URL lists several hosts, each password has its own variable, and a cluster has a shard count."""
    for case, variables, shards in (
        ("redis-cluster", {"SHADOWDIFF_STORE_PASSWORD"}, CLUSTER_SHARDS),
        ("redis-sentinel", {"SHADOWDIFF_STORE_PASSWORD", "SHADOWDIFF_SENTINEL_PASSWORD"}, 1),
    ):
        objects = rendered(case)
        made = configuration(objects)
        (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert variables == {each["name"] for each in container["env"] if "valueFrom" in each}
        (tmp_path / "ca.crt").touch()
        made["store"]["ca"] = str(tmp_path / "ca.crt")
        file = tmp_path / f"{case}.yaml"
        file.write_text(yaml.safe_dump(made))
        config = load_config(file, {name: f"the {name}" for name in variables})
        assert (3, shards) == (str(config.store.url).count(".redis.stores:"), config.store.shards)
        held = {
            str(secret.reveal(), "ascii")
            for secret in (config.store.password, config.store.sentinel_password)
            if secret
        }
        assert {f"the {name}" for name in variables} == held


def test_the_web_port_is_closed_without_an_access_value() -> None:
    """The web port listens on loopback by default, and on every address with a token, a proxy or `anonymous`."""
    hosts = {case: configuration(rendered(case))["listen"]["web_host"] for case in ("default", "access", "http-route")}
    assert {"default": "127.0.0.1", "access": "0.0.0.0", "http-route": "0.0.0.0"} == hosts
    assert "0.0.0.0" == configuration(rendered("default", config__access__anonymous="read"))["listen"]["web_host"]


def test_ports_with_certificates_are_used_with_tls() -> None:
    """Probes, Prometheus and `helm test` use TLS, and the Service declares each port's protocol."""
    objects = rendered("tls")
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    probes = {container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "liveness", "readiness")}
    assert {"HTTPS"} == probes
    (endpoint,) = one(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert "https" == endpoint["scheme"]
    assert ["https"] * 4 == [port["appProtocol"] for port in one(objects, "Service")["spec"]["ports"]]
    environment = {
        each["name"]: each.get("value")
        for each in one(objects, "Pod", "shadowdiff-test")["spec"]["containers"][0]["env"]
    }
    assert ("8080,8081,8082,9090", "8081") == (",".join(sorted(environment["HTTPS"].split(","))), environment["MTLS"])
    plain = one(rendered("monitoring"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert "scheme" not in plain["readinessProbe"]["httpGet"]


def test_a_client_certificate_for_probes_is_rejected() -> None:
    """The chart rejects required client certificates, because probes have none and every pod would stay unready."""
    files = {"cert": "/a", "key": "/b", "client_ca": "/c"}
    said = template("tls", json.dumps({"config.tls.metrics": files}))
    assert said.code != 0
    assert "config.tls.metrics.client_ca" in said.err


def test_tokens_come_from_secrets() -> None:
    """Each token has its own variable, which the configuration names. `helm test` uses the first token."""
    objects = rendered("access")
    assert {
        "session": "8h",
        "tokens": [
            {"name": "people", "role": "read", "targets": ["*"], "secret": "SHADOWDIFF_TOKEN_PEOPLE"},
            {
                "name": "release-1.x",
                "role": "write",
                "targets": ["*"],
                "secret": "SHADOWDIFF_TOKEN_RELEASE_1_X",
            },
        ],
        "records": ["SHADOWDIFF_RECORDS_TOKEN_0", "SHADOWDIFF_RECORDS_TOKEN_1"],
    } == configuration(objects)["access"]
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "valueFrom" in each}
    assert {
        "SHADOWDIFF_TOKEN_PEOPLE": "people",
        "SHADOWDIFF_TOKEN_RELEASE_1_X": "release",
        "SHADOWDIFF_RECORDS_TOKEN_0": "recorder",
        "SHADOWDIFF_RECORDS_TOKEN_1": "recorder-next",
    } == keys
    assert "SHADOWDIFF_HOOKS_TOKEN" == configuration(rendered("flagger"))["access"]["hooks"]
    (test,) = one(objects, "Pod", "shadowdiff-test")["spec"]["containers"]
    (token,) = [each["valueFrom"]["secretKeyRef"]["key"] for each in test["env"] if each["name"] == "TOKEN"]
    assert ("people", "open") == (token, {each["name"]: each.get("value") for each in test["env"]}["WEB"])


def test_only_the_service_reaches_the_trial_redis() -> None:
    """The policy of the trial Redis allows connections from the service's pods, and no outgoing ones."""
    objects = rendered("trial-redis")
    policy = one(objects, "NetworkPolicy", "shadowdiff-redis")["spec"]
    assert [{"podSelector": {"matchLabels": _service_labels(objects)}}] == policy["ingress"][0]["from"]
    assert (["Ingress", "Egress"], False) == (policy["policyTypes"], "egress" in policy)
    labels = one(objects, "Deployment", "shadowdiff-redis")["metadata"]["labels"]
    assert "trial-redis" == labels["app.kubernetes.io/component"]
    assert "redis://shadowdiff-redis:6379/0" == configuration(objects)["store"]["url"]


def _service_labels(objects: list[Object]) -> Object:
    return dict(one(objects, "Service")["spec"]["selector"])


@pytest.mark.parametrize("case", CASES)
def test_every_selector_matches_the_service_pods(case: str) -> None:
    """The Service, disruption budget, network policy and monitor select the labels that only these pods have."""
    objects = rendered(case)
    service = next(each for each in of_kind(objects, "Service") if not each["metadata"]["name"].endswith("-redis"))
    selector = service["spec"]["selector"]
    pods = one(objects, "Deployment", service["metadata"]["name"])["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= pods.items()
    assert {"app.kubernetes.io/component": "service"}.items() <= selector.items()
    for kind, where in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for each in [
            each for each in of_kind(objects, kind) if each["metadata"]["name"] == service["metadata"]["name"]
        ]:
            assert selector == each["spec"][where]["matchLabels"]
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert selector.items() <= service["metadata"]["labels"].items()
        assert selector == monitor["spec"]["selector"]["matchLabels"]


def test_each_port_has_its_own_rule() -> None:
    """The NetworkPolicy has a separate rule for each of the four ports.

    By default, the web port is open to this namespace.
    """
    rules = one(rendered(), "NetworkPolicy")["spec"]["ingress"]
    assert [[name] for name in PORTS] == [[port["port"] for port in rule["ports"]] for rule in rules]
    everywhere: list[Object] = [{"namespaceSelector": {}}]
    assert [everywhere, everywhere, [{"podSelector": {}}], everywhere] == [rule["from"] for rule in rules]
    named = one(rendered("network-policy"), "NetworkPolicy")["spec"]
    assert ["shop", "shop", "flagger-system", "monitoring"] == [
        rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for rule in named["ingress"]
    ]
    assert (["Ingress", "Egress"], 2) == (named["policyTypes"], len(named["egress"]))


def test_the_service_and_the_pods_have_the_four_ports() -> None:
    """The ports have the names that NetworkPolicies and monitors use."""
    objects = rendered()
    assert PORTS == {port["name"]: port["port"] for port in one(objects, "Service")["spec"]["ports"]}
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert PORTS == {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {"/healthz", "/readyz"} == {
        container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }


def test_pods_are_spread_over_nodes_and_zones() -> None:
    """By default, the scheduler spreads the pods over nodes if possible.

    Spread constraints without labels get the labels of the pods.
    """
    (by_default,) = one(rendered(), "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert ("kubernetes.io/hostname", "ScheduleAnyway") == (by_default["topologyKey"], by_default["whenUnsatisfiable"])
    objects = rendered("extras")
    (own,) = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert "topology.kubernetes.io/zone" == own["topologyKey"]
    assert of_kind(objects, "Service")[0]["spec"]["selector"] == own["labelSelector"]["matchLabels"]


def test_extra_objects_are_templates() -> None:
    """Extra objects in the values can be maps or text. Helm evaluates templates in both."""
    objects = rendered("extras")
    assert {"release": "shadowdiff"} == one(objects, "ConfigMap", "shadow-extra")["data"]
    assert "as-text" == one(objects, "ConfigMap", "as-text")["metadata"]["name"]


def test_the_alerts_are_the_repositorys(tmp_path: Path) -> None:
    """The chart renders the repository's alerts and an extra alert, with prefixed runbook URLs.

    Promtool accepts them.
    """
    spec = one(rendered("monitoring"), "PrometheusRule")["spec"]
    own = yaml.safe_load((ROOT / "deploy/prometheus/shadowdiff.rules.yaml").read_text())["groups"]
    plain = one(rendered("openshift"), "PrometheusRule")["spec"]["groups"]
    assert own == plain
    assert [*[group["name"] for group in own], "own"] == [group["name"] for group in spec["groups"]]
    urls = [rule["annotations"]["runbook_url"] for group in spec["groups"][:-1] for rule in group["rules"]]
    assert all(url.startswith("https://wiki.example.org/shadowdiff/docs/runbooks/Shadowdiff") for url in urls)
    assert all((ROOT / url.removeprefix("https://wiki.example.org/shadowdiff/")).is_file() for url in urls)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    command = [needs_tool("promtool"), "check", "rules", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert 0 == done.returncode, done.stderr


def test_the_dashboard_is_the_repositorys() -> None:
    """Grafana's sidecar and the Grafana operator get exactly the repository's dashboard."""
    objects = rendered("monitoring")
    held = one(objects, "ConfigMap", "shadowdiff-dashboard")
    own = (ROOT / "deploy/grafana/shadowdiff.json").read_text()
    assert own.strip() == held["data"]["shadowdiff.json"].strip()
    assert ("grafana", "1") == (held["metadata"]["namespace"], held["metadata"]["labels"]["grafana_dashboard"])
    named = one(objects, "GrafanaDashboard", "shadowdiff-dashboard")["spec"]["configMapRef"]
    assert {"name": "shadowdiff-dashboard", "key": "shadowdiff.json"} == named


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("record.lua", "recorder/envoy/record.lua"),
        ("shadowdiff.rules.yaml", "deploy/prometheus/shadowdiff.rules.yaml"),
        ("shadowdiff.json", "deploy/grafana/shadowdiff.json"),
    ],
)
def test_the_chart_has_one_source_for_each_file(name: str, source: str) -> None:
    """The chart's files are symbolic links to the originals, so copies cannot differ."""
    assert (ROOT / source).resolve() == (CHART / "files" / name).resolve()


def _notes(tmp_path: Path, case: str) -> str:
    """Return NOTES.txt as helm shows it after an installation; `helm template` does not print these notes."""
    chart = tmp_path / "chart"
    if not chart.exists():
        shutil.copytree(CHART, chart)
        text = (chart / "templates" / "NOTES.txt").read_text()
        wrapped = '{{- define "notes" -}}' + text + '{{- end -}}\nkind: Notes\ntext: {{ include "notes" . | toJson }}\n'
        (chart / "templates" / "notes.yaml").write_text(wrapped)
    said = helm("template", "sd", chart, "-n", "x", "-f", values_file(case), "--show-only", "templates/notes.yaml")
    assert said.code == 0, said.err
    return str(yaml.safe_load(said.out)["text"])


def test_the_notes_list_what_is_missing_and_the_next_steps(tmp_path: Path) -> None:
    """The notes report a missing target, a store that is lost with its pod, the trial Redis, and the next steps."""
    first = _notes(tmp_path, "default")
    assert "COMPARES NOTHING YET" in first
    assert "ONE POD ONLY" in first
    assert "kubectl -n x rollout status deployment/sd-shadowdiff" in first
    assert "ONLY FOR TRIALS" in _notes(tmp_path, "trial-redis")
    mesh = _notes(tmp_path, "istio")
    assert "recommendation: mirrored by a VirtualService; recorded by an EnvoyFilter." in mesh
    assert "sd-shadowdiff.x.svc.cluster.local:8080" in mesh
    assert "https://shadowdiff.example.org/" in _notes(tmp_path, "ingress")
    assert "`shadowdiff istio snippets --target orders`" in _notes(tmp_path, "targets")
    assert "ONE POD ONLY" not in _notes(tmp_path, "external-redis")
