"""Gold rewards and judges: a program for the generated world, models trained here for real text."""
