"""Which of several models is better, by how much, and on which clips; from their predictions, without running a model."""
