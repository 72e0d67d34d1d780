"""Settings that hold for every test: no display, one thread a process, hypothesis without a clock.

``GPO_HYPOTHESIS=long`` tries every property on 2,000 random cases in place of its few fixed ones.
"""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("gpo", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("gpo"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("GPO_HYPOTHESIS", "gpo"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that share what their module makes once stay in one worker (pytest-xdist's ``--dist loadgroup``)."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        fixtures = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        if any(made.scope == "module" for definitions in fixtures.values() for made in definitions):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
