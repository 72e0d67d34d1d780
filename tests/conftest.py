"""Settings that hold for every test: no display, one thread a process, hypothesis without a clock.

``GPO_HYPOTHESIS=long`` tries every property on 2,000 random cases in place of its few fixed ones.
"""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile("gpo", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("gpo"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("GPO_HYPOTHESIS", "gpo"))
