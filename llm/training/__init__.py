"""Training: the objective, optimizers, stacks of models, fine-tuning."""
