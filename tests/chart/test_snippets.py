"""`shadowdiff istio snippets` prints what the chart would render, and its output is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result

from shadowdiff.cli import main
from tests.chart.rendering import configuration, one, rendered
from tests.chart.schemas import faults_of_custom, schemas_folder
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def _snippets(tmp_path: Path, case: str, *options: str) -> Result:
    """Run the command on the configuration that the chart renders, without its secrets and files."""
    file = tmp_path / "shadowdiff.yaml"
    file.write_text(yaml.safe_dump(configuration(rendered(case))))
    return CliRunner().invoke(main, ["istio", "snippets", "--config", str(file), *options])


def _parts(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.output))


def test_the_snippets_match_the_chart(tmp_path: Path) -> None:
    """The snippets equal the VirtualService and HTTPRoute that the chart renders, key by key."""
    (route,) = one(rendered("istio"), "VirtualService", "shadowdiff-recommendation")["spec"]["http"]
    part, rule, _ = _parts(_snippets(tmp_path, "istio", "--target", "recommendation"))
    assert part == {name: route[name] for name in part}
    (own,) = one(rendered("gateway-api"), "HTTPRoute", "shadowdiff-orders")["spec"]["rules"]
    assert rule == {name: own[name] for name in rule}


def test_each_snippet_is_valid_in_its_object(tmp_path: Path) -> None:
    """If users paste a snippet into their own route, rule or Canary, the object is still valid."""
    folder = schemas_folder()
    if folder is None:
        pytest.skip("no schemas of custom resources here: name their folder in SHADOWDIFF_CRD_SCHEMAS")
    route, rule, service = _parts(_snippets(tmp_path, "istio", "--target", "recommendation"))
    to = {"destination": {"host": "v1"}}
    canary = {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "v1"},
        "analysis": {"interval": "1m", "iterations": 9, "threshold": 1},
    }
    objects: list[dict[str, Any]] = [
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
         "spec": {"hosts": ["v1"], "http": [{"route": [to], **route}]}},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
         "spec": {"rules": [{**rule, "backendRefs": [{"name": "v1", "port": 8080}]}]}},
        {"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
         "spec": {**canary, "service": {"port": 8080, **service}}},
    ]  # fmt: skip
    assert [] == [fault for each in objects for fault in faults_of_custom(each, folder)]


def test_a_recorder_at_the_gateway_sets_the_id_itself(tmp_path: Path) -> None:
    """The snippet sets no id, because the route would set a different one."""
    (part,) = _parts(
        _snippets(tmp_path, "istio", "--target", "recommendation", "--into", "virtualservice", "--recorder-at-gateway")
    )
    assert {"timeout", "mirrors"} == set(part)


def test_with_both_sides_recorded_snippets_have_only_the_id(tmp_path: Path) -> None:
    """The rollout mirrors requests to v2, so no snippet sends copies to shadowdiff."""
    parts = _parts(_snippets(tmp_path, "both-sides", "--target", "orders", "--both-sides"))
    assert [{"headers", "timeout"}, {"filters", "timeouts"}, {"headers", "timeout"}] == [set(part) for part in parts]
    assert ["RequestHeaderModifier"] == [each["type"] for each in parts[1]["filters"]]
    canary = next(yaml.safe_load_all((ROOT / "examples/rollouts/flagger-istio.yaml").read_text()))
    assert parts[2] == {name: canary["spec"]["service"][name] for name in parts[2]}


def test_the_service_may_have_another_name(tmp_path: Path) -> None:
    """Snippets for the mesh and for the Gateway API can use another Service name."""
    options = ("--target", "orders", "--service", "shadow.tools.svc.cluster.local", "--timeout", "3s")
    route, rule, canary = _parts(_snippets(tmp_path, "targets", *options))
    assert ("shadow.tools.svc.cluster.local", "3s") == (route["mirrors"][0]["destination"]["host"], route["timeout"])
    reference = {"name": "shadow", "namespace": "tools", "port": 8080}
    assert reference == rule["filters"][1]["requestMirror"]["backendRef"] == canary["mirror"][0]["backendRef"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "nothing"), "unknown target 'nothing'; configured: recommendation"),
        (("--target", "recommendation", "--service", "shadowdiff"), "write NAME.NAMESPACE.svc.cluster.local"),
        (
            ("--target", "recommendation", "--both-sides", "--recorder-at-gateway"),
            "--both-sides and --recorder-at-gateway cannot be combined",
        ),
    ],
)
def test_wrong_options_are_rejected_with_the_fix(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """For this error, the command exits with 2 and prints one line."""
    result = _snippets(tmp_path, "istio", *options)
    assert (2, True) == (result.exit_code, message in result.output), result.output


def test_a_configuration_without_the_id_header_is_rejected(tmp_path: Path) -> None:
    """The service must read the id header that the snippet sets."""
    file = tmp_path / "shadowdiff.yaml"
    config = configuration(rendered("istio")) | {"pairing": {"id_headers": ["x-request-id"]}}
    file.write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(main, ["istio", "snippets", "--config", str(file), "--target", "recommendation"])
    assert (2, True) == (result.exit_code, "pairing.id_headers does not contain x-diff-id" in result.output)
    missing = CliRunner().invoke(main, ["istio", "snippets", "--config", str(tmp_path / "no"), "--target", "x"])
    assert (2, True) == (missing.exit_code, "cannot be read" in missing.output)
