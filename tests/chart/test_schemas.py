"""Check that Kubernetes and the custom resources accept everything that the chart renders."""

from __future__ import annotations

import json

import pytest

from tests.chart.rendering import CASES, CHART, Object, helm, rendered, values_file
from tests.chart.schemas import faults_of_core, faults_of_custom, is_custom, schemas_folder, versions

NAME_CHARACTERS = 63


def everything() -> list[Object]:
    """Return the objects of all cases, without duplicates."""
    found = {json.dumps(each, sort_keys=True): each for case in CASES for each in rendered(case)}
    return list(found.values())


@pytest.mark.parametrize("case", CASES)
def test_helm_lints_every_case_strictly(case: str) -> None:
    """Helm's linter reports no warning for any case."""
    said = helm("lint", "--strict", CHART, "--values", values_file(case))
    assert (0, "1 chart(s) linted, 0 chart(s) failed") == (said.code, said.out.strip().splitlines()[-1]), said.out


@pytest.mark.parametrize("version", versions())
def test_every_object_is_valid_in_this_kubernetes(version: str) -> None:
    """Each rendered object has a known kind and only known keys."""
    faults = [fault for each in everything() if not is_custom(each) for fault in faults_of_core(each, version)]
    assert [] == faults


def test_every_custom_object_is_valid() -> None:
    """Each custom resource is valid under its definition's schema, and has no unknown keys."""
    folder = schemas_folder()
    if folder is None:
        pytest.skip("no schemas of custom resources here: name their folder in SHADOWDIFF_CRD_SCHEMAS")
    custom = [each for each in everything() if is_custom(each)]
    assert len(custom) >= 20
    assert [] == [fault for each in custom for fault in faults_of_custom(each, folder)]


def test_a_wrong_key_and_an_unknown_kind_are_detected() -> None:
    """The checks in this file detect invalid objects."""
    newest = versions()[-1]
    wrong: Object = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"sellector": {}}}
    unknown: Object = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}}
    assert ["sellector" in fault for fault in faults_of_core(wrong, newest)] == [True]
    assert (1, False) == (len(faults_of_core(unknown, newest)), is_custom(unknown))
    folder = schemas_folder()
    if folder is not None:
        filter_: Object = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "spec": {"host": "x", "hots": 1},
        }
        assert ["hots" in fault for fault in faults_of_custom(filter_, folder)] == [True]


@pytest.mark.parametrize("case", CASES)
def test_each_object_has_a_unique_name_and_the_labels(case: str) -> None:
    """Object names are valid for all kinds, and labels distinguish releases."""
    objects = [each for each in rendered(case) if each["metadata"]["name"] not in {"shadow-extra", "as-text"}]
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    assert max(len(name) for _, _, name in names) <= NAME_CHARACTERS
    assert {"shadowdiff"} == {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in objects}
    assert {"shadowdiff-0.1.0"} == {each["metadata"]["labels"]["helm.sh/chart"] for each in objects}
