"""On how many random cases a property is tried: on few where each is dear, unless ``GPO_HYPOTHESIS`` asks for more.

``GPO_HYPOTHESIS=long`` tries every property on 2,000 cases that are drawn anew, ``GPO_HYPOTHESIS=300`` on 300; without
it the cases are the same each time. ``--hypothesis-seed=7`` draws the same ones again, and
``--hypothesis-show-statistics`` says how many there were.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = 2000
ASKED = {"": 0, "long": LONG}.get(os.environ.get("GPO_HYPOTHESIS", "")) or int(os.environ.get("GPO_HYPOTHESIS") or 0)
"""Cases that are asked for; 0 for the few."""
settings.register_profile("gpo", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("asked", parent=settings.get_profile("gpo"), derandomize=False, max_examples=ASKED or LONG)
settings.load_profile("asked" if ASKED else "gpo")


def cases(few: int) -> settings:
    """Settings of a property: so many cases, or those asked for.

    Parameters
    ----------
    few : int
    """
    return settings() if ASKED else settings(max_examples=few)
