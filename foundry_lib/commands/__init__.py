"""The commands of `python -m foundry_lib`, a file each."""
