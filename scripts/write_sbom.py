"""Write what an installation of shadowdiff consists of: a CycloneDX bill of materials, or the page of licenses.

In: requirements/run.txt, the lock; what is installed, for the licenses. Out: JSON or Markdown on standard output.
"""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# (the library's decorators hide its types)

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path
from typing import NamedTuple

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot5
from packageurl import PackageURL

LOCK = Path(__file__).parents[1] / "requirements" / "run.txt"
ELSEWHERE = {"async-timeout": "Apache-2.0"}
"""Licenses of what is installed on other systems or Pythons alone, as their own files say."""
_PINNED = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)[^\n]*((?:\n    --hash=sha256:\w+[^\n]*)+)", re.MULTILINE
)


class Package(NamedTuple):
    """One locked package."""

    name: str
    version: str
    hashes: list[str]
    license: str


def packages() -> list[Package]:
    """Return what is locked."""
    return [
        Package(name, version, re.findall(r"sha256:(\w+)", hashes), license_of(name))
        for name, version, hashes in _PINNED.findall(LOCK.read_text())
    ]


def license_of(name: str) -> str:
    """Return a package's license, by its own metadata."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    metadata = importlib.metadata.metadata(name)
    classes = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    return (
        metadata.get("License-Expression")
        or "; ".join(classes)
        or (metadata.get("License") or "unknown").splitlines()[0]
    )


def bill() -> str:
    """Return the bill of materials."""
    components = [
        Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=one.name, version=one.version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.hashes],
            licenses=[DisjunctiveLicense(name=one.license)],
        )
        for one in packages()
    ]
    version = importlib.metadata.version("shadowdiff")
    root = Component(name="shadowdiff", version=version, type=ComponentType.APPLICATION)
    bom = Bom(components=components)
    bom.metadata.component = root
    bom.register_dependency(root, components)
    return JsonV1Dot5(bom).output_as_string(indent=2)


def page() -> str:
    """Return the page of licenses."""
    rows = "\n".join(f"| {one.name} | {one.license} |" for one in packages())
    return f"""# Licenses

shadowdiff is licensed under Apache-2.0. This table lists the packages that are installed with it
(`requirements/run.txt`), and the license in each package's own metadata. To update this page, run
`scripts/sbom --licenses > docs/licenses.md`. A test compares it with the lock.

| package | license |
|---|---|
{rows}
"""


if __name__ == "__main__":
    sys.stdout.write(page() if "--licenses" in sys.argv else bill() + "\n")
