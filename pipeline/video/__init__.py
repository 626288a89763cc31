"""Videos: decoded once, kept as records of JPEG frames, and cut into the views that a model sees."""
