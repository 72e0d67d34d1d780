"""Third-party modules that tests and the library use, imported once, before a process is forked for each fault."""

# ruff: noqa: F401
import contextlib
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # as tests/llm/conftest.py, before it is read
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

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

with contextlib.suppress(ImportError):  # which take longer to import than most tests take
    import safetensors.torch
    import transformers.models.llama.modeling_llama
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
with contextlib.suppress(ImportError):
    import cvxpy
with contextlib.suppress(ImportError):
    from trl import DPOTrainer
