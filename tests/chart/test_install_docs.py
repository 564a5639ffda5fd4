"""Check each command of docs/install.md and docs/openshift.md.

There is no cluster. For a helm command, the test renders the chart with the same values. For a kubectl or oc command,
the named objects must be among the rendered ones. tests/image covers docker builds. The tests run all other commands
unchanged.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from shadowdiff.cli import main
from tests.chart.rendering import CHART, Object, helm, kinds
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = ("install.md", "openshift.md")
TEXT = {page: (ROOT / "docs" / page).read_text() for page in PAGES}
NEEDS_A_CLUSTER = {"kubectl", "oc"}
IMAGE = {"docker", "curl"}


def commands(page: str) -> list[str]:
    """Return the commands of a docs page."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT[page], re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def values() -> str:
    """Return the values file that the page shows."""
    (block,) = re.findall(r"`my-values\.yaml`.*?```yaml\n(.*?)```", TEXT["install.md"], re.DOTALL)
    return block


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that looks like a clone and contains the values file."""
    (tmp_path / "my-values.yaml").write_text(values())
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _rendering(words: list[str]) -> list[str] | None:
    """Return the rendering for a helm command, or None if the command installs nothing."""
    words = [word for word in words if word not in {"--install", "--create-namespace"}]
    match words[1]:
        case "install" | "upgrade":
            return ["template", *words[2:]]
        case "template" | "lint":
            return words[1:]
        case _:
            assert words[1] in {"test", "uninstall"}, words
            return None


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands(page) if line.startswith("helm ")])
def test_every_helm_command_renders(line: str, folder: Path) -> None:
    """The chart renders with the values and the namespace of every helm command. An undefined value is an error."""
    words = shlex.split(line)
    assert folder
    rendering = _rendering(words)
    if rendering is None:
        assert "--namespace" in words
        return
    said = helm(*rendering)
    assert said.code == 0, said.err
    if rendering[0] == "template":
        assert "Deployment/shadowdiff" in kinds(_objects(said.out))
    if "recorder.enabled=false" in words:
        assert "kind: EnvoyFilter" not in said.out
    elif "my-values.yaml" in words and rendering[0] == "template":
        assert "kind: EnvoyFilter" in said.out


def _objects(text: str) -> list[Object]:
    return [dict(each) for each in yaml.safe_load_all(text) if each]


def _rendered_for(page: str) -> list[Object]:
    file = {"install.md": "my-values.yaml", "openshift.md": "charts/shadowdiff/ci/openshift-values.yaml"}[page]
    return _objects(helm("template", "shadowdiff", CHART, "-n", "shadowdiff", "-f", file).out)


@pytest.mark.parametrize("page", PAGES)
def test_objects_of_kubectl_commands_exist(page: str, folder: Path) -> None:
    """Commands name existing Deployments, routes and ConfigMaps, and Secrets with the keys that the values name."""
    assert folder
    objects = _rendered_for(page)
    there = {name.lower() for name in kinds(objects)}
    made: set[tuple[str, str]] = set()
    for line in commands(page):
        words = shlex.split(line)
        if words[0] not in NEEDS_A_CLUSTER:
            continue
        named = {word for word in words if re.fullmatch(r"(deployment|service)/[a-z-]+", word)}
        for kind in ("route", "configmap"):
            if kind in words:
                named.add(f"{kind}/{words[words.index(kind) + 1]}")
        assert named <= there, line
        if "secret" in words:
            name = words[words.index("generic") + 1]
            made |= {
                (name, word.removeprefix("--from-literal=").partition("=")[0]) for word in words if "--from" in word
            }
    asked = {
        (each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"])
        for thing in objects
        if thing["kind"] == "Deployment"
        for container in thing["spec"]["template"]["spec"]["containers"]
        for each in container.get("env", [])
        if "valueFrom" in each
    }
    assert asked <= made


def test_the_shadowdiff_commands_run(folder: Path) -> None:
    """The snippets command accepts the configuration that the page fetches. The other commands accept their options."""
    config = next(each for each in _rendered_for("install.md") if each["kind"] == "ConfigMap")
    (folder / "shadowdiff.yaml").write_text(config["data"]["shadowdiff.yaml"])
    seen = 0
    for line in commands("install.md"):
        words = shlex.split(line)
        if words[0] != "shadowdiff":
            continue
        seen += 1
        result = CliRunner().invoke(main, words[1:])
        if words[1] == "istio":
            assert (0, True) == (result.exit_code, "mirrors:" in result.output), result.output
        else:  # no server listens on this port; a usage error would print another line
            assert (2, True) == (result.exit_code, "127.0.0.1:8082" in result.output), result.output
    assert 3 == seen


def test_every_command_is_tested() -> None:
    """The tests run every command of the page."""
    programs = {shlex.split(line)[0] for page in PAGES for line in commands(page)}
    assert {"helm", "shadowdiff"} | NEEDS_A_CLUSTER | IMAGE == programs


def test_every_linked_file_exists() -> None:
    """Every values file and page that the docs link to exists."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", TEXT[page]):
            assert (ROOT / "docs" / target).resolve().exists(), target
