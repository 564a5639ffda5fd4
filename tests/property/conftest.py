"""Set the number of Hypothesis examples.

HYPOTHESIS_PROFILE selects `quick`, `long`, or `deep`. The profile `deep` has over 100,000 examples in all tests.
"""

from __future__ import annotations

import os

from hypothesis import settings

PATIENT = settings.get_profile("patient")
settings.register_profile("quick", PATIENT, max_examples=150)
settings.register_profile("long", PATIENT, max_examples=1_500)
settings.register_profile("deep", PATIENT, max_examples=8_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
