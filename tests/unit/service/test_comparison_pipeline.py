"""A run ends if what is compared changes."""

from __future__ import annotations

import pytest

from shadowdiff.config import TargetConfig
from shadowdiff.model import Candidate, Gate, Target
from shadowdiff.service.comparison_pipeline import run_inputs_of


def digest(**changes: object) -> str:
    """Return the digest of a target."""
    stated: dict[str, object] = {"name": "shop", "hosts": ("shop",), "candidate": Candidate(url="http://v2"), **changes}
    return run_inputs_of([TargetConfig(target=Target(**stated), rules=())], 0.0)[0].rules  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "is_the_same"),
    [
        ({"gate": Gate(min_coverage=0.5)}, True),
        ({"exclude_headers": ("x-a",)}, False),
        ({"compare_headers": ("date",)}, False),
        ({"body_types": (("*", "application/json"),)}, False),
        ({"built_in_off": ("own_origin",)}, False),
        ({"candidate": Candidate(url="http://v2", revision_header="x-build")}, False),
    ],
)
def test_the_digest_changes_with_what_is_compared(changes: dict[str, object], is_the_same: bool) -> None:
    """The limits of the gate do not change it."""
    assert (digest(**changes) == digest()) is is_the_same
    assert digest(**changes) == digest(**changes)
