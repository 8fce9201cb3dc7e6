"""Trainings that are compared: sweeps over settings and seeds, runs in folders, ablations."""
