"""Builds, restores and serves the networks: all modules that influence their outputs."""
