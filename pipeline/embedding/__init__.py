"""Embedding on a cluster: the rows of a split in chunks, each computed by whichever worker is free."""
