"""Training: the trainer and its step, checkpoints, and the settings that suit a text.

Read record, optimizer, evaluate, interrupt, memory, pieces, trainer (with sentences), checkpoint, saving, recipes.
"""
