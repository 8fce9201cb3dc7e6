"""The commands of `python -m foundry_lib`, one file per command."""
