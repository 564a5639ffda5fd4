"""How many examples the properties draw: few, or by HYPOTHESIS_PROFILE `long`, or `deep` (over 100,000 in all)."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=150, deadline=None)
settings.register_profile("long", max_examples=1_500, deadline=None)
settings.register_profile("deep", max_examples=15_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
