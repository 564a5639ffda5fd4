"""`python -m shadowdiff` is the `shadowdiff` command.

If this Python lacks the package or a dependency, print one line with the fix and exit with 2.
"""

import sys

REMEDY = (
    "shadowdiff is not installed for {python} ({missing}): run ./scripts/demo once and use .venv/bin/shadowdiff, "
    "or `pip install .` in the clone\n"
)

try:
    from shadowdiff.cli import main
except ImportError as error:
    # error.name is the missing module; for a PackageNotFoundError it is the missing distribution.
    sys.stderr.write(REMEDY.format(python=sys.executable, missing=f"it lacks {error.name}"))
    sys.exit(2)

main()
