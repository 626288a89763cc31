"""Measuring this pipeline beside the plain way: the shape of the MoViNet tutorials, on the same clips and weights."""
