"""Measures this pipeline against the plain way: the shape of the MoViNet tutorials, on the same clips and weights."""
