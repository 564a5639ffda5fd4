"""Run named golden cases against whatever `shadowdiff` is first on the path; exit 1 with the first complaint."""

from __future__ import annotations

import sys

from tests.golden.cases import load


def main(names: list[str]) -> int:
    """Return 1 where a case fails or raises, 0 where all hold."""
    for name in names:
        try:
            complaint = load(name).complaint()
        except Exception as error:  # noqa: BLE001  a mutant that raises is dead as well
            complaint = f"{name}: raised {error!r}"
        if complaint:
            sys.stdout.write(complaint + "\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
