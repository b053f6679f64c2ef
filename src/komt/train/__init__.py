"""Training: plan of steps, loop, checkpoints, log."""
