"""Finds, fetches, recognises, verifies and restores pretrained weights."""
