"""What stands in for other libraries' objects, and which of their own warnings are no concern of these tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

#: Libraries about calls that they make of each other.
OLD_CALLS = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("FutureWarning", "DeprecationWarning")]
#: TRL and transformers about their own options, too.
OF_LIBRARIES = [*OLD_CALLS, pytest.mark.filterwarnings("ignore::UserWarning")]


def holder(**named: Any) -> Any:
    """An object with these attributes and no others."""
    return SimpleNamespace(**named)
