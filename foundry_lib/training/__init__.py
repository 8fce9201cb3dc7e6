"""Training: the trainer and its step, checkpoints, and the settings that suit a text."""
