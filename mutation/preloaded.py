"""Third-party modules that tests and the library use, imported once, before a process is forked for each fault."""

# ruff: noqa: F401
import _hypothesis_pytestplugin
import click.testing
import coverage
import hypothesis.extra.numpy
import matplotlib.pyplot
import mpmath
import numpy.testing
import pandas
import pytest
import scipy.integrate
import scipy.optimize
import scipy.sparse.linalg
import scipy.special
import scipy.stats
import sympy
import torch
