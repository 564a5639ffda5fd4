"""Check the locked packages for known vulnerabilities with pip-audit.

Exits with 1 if a package has a known vulnerability, or if pip-audit fails without a report. An index that is
unreachable or has no vulnerability data does not fail the check; a message reports how many packages were not checked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, NamedTuple

WITHIN_S = 150.0
_NO_INDEX = re.compile(
    r"ConnectionError|ProxyError|ConnectTimeout|ReadTimeout|Max retries exceeded|Could not connect to|"
    r"Name or service not known|Temporary failure in name resolution|Network is unreachable"
)
_VULNERABLE = re.compile(r"\b(?:PYSEC-\d|CVE-\d|GHSA-)|known vulnerabilit|\"vulns\": \[\s*\{")


PASSES, FAILS = 0, 1


class Verdict(NamedTuple):
    """The exit status, and the reason in one line or more."""

    status: int
    message: str


def verdict(status: int, out: str, err: str) -> Verdict:
    """Return the verdict for a status and the output of pip-audit."""
    try:
        packages: list[Any] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return _without_report(out + err)
    found = [f"{package['name']} {package['version']}: {_ids(package)}" for package in packages if package.get("vulns")]
    if found:
        return Verdict(FAILS, "known vulnerabilities:\n" + "\n".join(found))
    if status:
        return Verdict(FAILS, f"pip-audit failed ({status}), its report has no vulnerabilities:\n{err[-2000:]}")
    if not packages:
        return Verdict(FAILS, "pip-audit found no package in the locks")
    skipped = sum("skip_reason" in package for package in packages)
    if skipped == len(packages):
        return Verdict(PASSES, "skipped: this index has no vulnerability data")
    checked = len(packages) - skipped
    return Verdict(PASSES, f"no known vulnerability in {checked} packages; {skipped} packages were not checked")


def _without_report(output: str) -> Verdict:
    if _VULNERABLE.search(output):
        return Verdict(FAILS, f"pip-audit failed after it found vulnerabilities:\n{output[-4000:]}")
    if _NO_INDEX.search(output):
        return Verdict(PASSES, "skipped: no index with vulnerability data is reachable")
    return Verdict(FAILS, f"pip-audit wrote no readable report:\n{output[-4000:]}")


def _ids(package: dict[str, Any]) -> str:
    return ", ".join(
        f"{found['id']} (fixed in {', '.join(found['fix_versions']) or 'no version'})" for found in package["vulns"]
    )


def main(locks: list[str]) -> int:
    """Audit the locks; return the exit status."""
    command = ["pip-audit", *(word for lock in locks for word in ("-r", lock)), "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner", "off", "--format", "json"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        result = Verdict(PASSES, f"skipped: no reply from the index within {WITHIN_S:.0f} s")  # pip-audit reports last
    except FileNotFoundError:
        result = Verdict(FAILS, "pip-audit is not installed: scripts/check installs it")
    else:
        result = verdict(ran.returncode, ran.stdout, ran.stderr)
    sys.stderr.write(f"• pip-audit: {result.message}\n")
    return result.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
