"""Scores, their intervals and the predictions file, without TensorFlow."""
