"""How far numbers of two records may be apart: relative, and absolute."""

RTOL, ATOL = 1e-9, 1e-12
"""Of numbers; whole numbers, texts and truth values are the same or they are not."""
