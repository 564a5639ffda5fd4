"""How many examples the properties draw: few, or by HYPOTHESIS_PROFILE `long`, or `deep` (over 100,000 in all)."""

from __future__ import annotations

import os

from hypothesis import settings

PATIENT = settings.get_profile("patient")
settings.register_profile("quick", PATIENT, max_examples=150)
settings.register_profile("long", PATIENT, max_examples=1_500)
settings.register_profile("deep", PATIENT, max_examples=8_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
