"""Everything that the chart renders is what Kubernetes, and the makers of custom resources, take."""

from __future__ import annotations

import json

import pytest

from tests.chart.rendering import CASES, CHART, Object, helm, rendered, values_file
from tests.chart.schemas import faults_of_core, faults_of_custom, is_custom, schemas_folder, versions

NAME_CHARACTERS = 63


def everything() -> list[Object]:
    """Return the objects of all cases, each once."""
    found = {json.dumps(each, sort_keys=True): each for case in CASES for each in rendered(case)}
    return list(found.values())


@pytest.mark.parametrize("case", CASES)
def test_helm_lints_every_case_strictly(case: str) -> None:
    """No warning either."""
    said = helm("lint", "--strict", CHART, "--values", values_file(case))
    assert (0, "1 chart(s) linted, 0 chart(s) failed") == (said.code, said.out.strip().splitlines()[-1]), said.out


@pytest.mark.parametrize("version", versions())
def test_every_object_is_one_of_this_kubernetes(version: str) -> None:
    """Strictly: no unknown key, and no kind that neither Kubernetes knows nor the list of custom ones."""
    faults = [fault for each in everything() if not is_custom(each) for fault in faults_of_core(each, version)]
    assert [] == faults


def test_every_custom_object_is_what_its_makers_take() -> None:
    """By the schemas of their own definitions, closed to unknown keys."""
    folder = schemas_folder()
    if folder is None:
        pytest.skip("no schemas of custom resources here: name their folder in SHADOWDIFF_CRD_SCHEMAS")
    custom = [each for each in everything() if is_custom(each)]
    assert len(custom) >= 20
    assert [] == [fault for each in custom for fault in faults_of_custom(each, folder)]


def test_a_wrong_key_and_an_unknown_kind_are_seen() -> None:
    """The checks above can fail."""
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
def test_each_object_is_named_once_and_bears_the_labels(case: str) -> None:
    """Names that Kubernetes takes for all kinds, and labels by which one release is told from another."""
    objects = [each for each in rendered(case) if each["metadata"]["name"] not in {"shadow-extra", "as-text"}]
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    assert max(len(name) for _, _, name in names) <= NAME_CHARACTERS
    assert {"shadowdiff"} == {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in objects}
    assert {"shadowdiff-0.1.0"} == {each["metadata"]["labels"]["helm.sh/chart"] for each in objects}
