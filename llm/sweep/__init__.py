"""A grid of cells trained and evaluated: what is planned, run and read back."""
