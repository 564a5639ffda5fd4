"""Render the chart with helm, from a values file and values that override the file.

A rendering takes 60 ms, so it runs once per session and is cached. Tests ignore Helm's warning about the symbolic links
in the chart.
"""

from __future__ import annotations

import functools
import json
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tests.conftest import ROOT, needs_tool

if TYPE_CHECKING:
    from pathlib import Path

CHART = ROOT / "charts" / "shadowdiff"
CASES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "shadowdiff"
RELEASE = "shadowdiff"
WITHIN_S = 30

Object = dict[str, Any]


class Said(NamedTuple):
    """The exit code and output of a helm command."""

    code: int
    out: str
    err: str


def values_file(case: str) -> Path:
    """Return a values file under ci/."""
    return CHART / "ci" / f"{case}-values.yaml"


def helm(*arguments: str | Path) -> Said:
    """Run helm."""
    command = [needs_tool("helm"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    said = "\n".join(line for line in done.stderr.splitlines() if "found symbolic link" not in line)
    return Said(done.returncode, done.stdout, said)


@functools.cache
def template(case: str = "default", over: str = "{}", chart: Path = CHART) -> Said:
    """Render a values file with JSON values that override the file."""
    laid = [word for name, value in json.loads(over).items() for word in ("--set-json", f"{name}={json.dumps(value)}")]
    return helm("template", RELEASE, chart, "--namespace", NAMESPACE, "--values", values_file(case), *laid)


def rendered(case: str = "default", **over: Any) -> list[Object]:
    """Return the objects that the chart renders from a values file.

    Each keyword in `over` is a value's dotted name, with `__` for each dot.
    """
    return _objects(case, json.dumps({name.replace("__", "."): value for name, value in over.items()}))


@functools.cache
def _objects(case: str, over: str) -> list[Object]:
    said = template(case, over)
    assert said.code == 0, said.err
    return [dict(each) for each in yaml.load_all(said.out, yaml.CSafeLoader) if each]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return the rendered objects of one kind."""
    return [each for each in objects if each["kind"] == kind]


def one(objects: list[Object], kind: str, name: str = "shadowdiff") -> Object:
    """Return the object with this kind and name."""
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def kinds(objects: list[Object]) -> set[str]:
    """Return the kinds and names of objects."""
    return {f"{each['kind']}/{each['metadata']['name']}" for each in objects}


def configuration(objects: list[Object]) -> Object:
    """Return the configuration file in the ConfigMap."""
    return dict(yaml.safe_load(one(objects, "ConfigMap")["data"]["shadowdiff.yaml"]))
