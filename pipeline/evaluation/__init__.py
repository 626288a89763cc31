"""Scores, their confidence intervals and the predictions file, without TensorFlow."""
