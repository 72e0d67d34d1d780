"""The experiments: one module each, run by ``python -m experiments``.

A module ``experiments/beta_sweep.py`` is the experiment ``beta-sweep``. It exposes

- ``CLAIM``: one sentence, what the experiment is to show;
- ``FIGURE``: the name of the figure drawn from its record (see ``python -m figures list``);
- ``Config``: a frozen dataclass, every field documented; ``PRESETS = {"quick": Config(…), "paper": Config(…)}``;
- ``cells(config)``: the axes of the computation's independent parts, a list of dictionaries of plain JSON values, best
  by `experiments.framework.sweeps.grid`; what the configuration says already is not repeated there;
- ``run(config, **axes)``: one part's rows, a pandas DataFrame whose columns say which part it is;
- ``check(config, table)``: a list of ``experiments.framework.Check``, what was predicted beside what came out.

``experiments/losses.py`` is a short one to start from. A new file is found by itself. Cells run in processes of their
own and are kept as they finish, so they must depend on nothing but the configuration, their axes (seeds included) and
the code.
``experiments.run(NAME, field=value)`` runs one from Python (`experiments.framework.single.run`).

Where an experiment cannot run here (no data, no GPU), ``cells`` raises ``experiments.framework.NotRun`` with the
reason, and the report says so.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submod_attrs={"framework.single": ["run"]})
