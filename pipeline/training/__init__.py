"""Training: datasets, optimizer and loop, which are the same for a top on cached features and for a whole network."""
