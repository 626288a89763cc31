"""Computes the features of a split, in one process or in chunks on the workers of a cluster."""
