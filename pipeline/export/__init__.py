"""Exports classifiers for other programs and devices: SavedModels and TensorFlow Lite files, and their measurement."""
