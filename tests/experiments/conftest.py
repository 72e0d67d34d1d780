"""Shared by the tests of the runner: a project of one experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.experiments.project import make


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the framework with one experiment, ``slow``."""
    return make(tmp_path)
