"""One thread for linear algebra on small matrices, whatever the default: more of them only wait for each other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    """Of the BLAS libraries that are loaded: numpy's and scipy's."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS and LAPACK use one thread.

    Examples
    --------
    >>> import numpy as np
    >>> with one_thread():
    ...     np.linalg.solve(2 * np.eye(2), np.ones(2))
    array([0.5, 0.5])
    """
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited
