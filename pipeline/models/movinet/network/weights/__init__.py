"""Published weights and those of others: found, fetched, recognised, verified, restored."""
