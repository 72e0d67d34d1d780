"""``python -m tests.approved [PART…]``: write the approved texts anew, of the cases whose name holds a part."""

from __future__ import annotations

import sys
import time

import matplotlib as mpl

from tests.approved.cases import CASES
from tests.approved.texts import approve, write

mpl.use("Agg")
if sys.argv[1:]:
    for case, made in CASES.items():
        if any(part in case for part in sys.argv[1:]):
            start = time.process_time()
            approve(case, made())
            print(f"{time.process_time() - start:6.2f} s  {case}")
else:
    write(CASES)
