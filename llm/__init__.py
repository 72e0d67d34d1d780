"""Language models trained with the losses of `gpo_analysis`: data, gold rewards, pairs, training, evaluation."""
