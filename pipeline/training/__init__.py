"""Training: the datasets, the optimizer and the loop, the same for a head on cached features and for a whole network."""
