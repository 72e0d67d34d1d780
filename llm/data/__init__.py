"""Data: what an example and a pair are, the generated world, readers of files and of hub data sets, filters."""
