"""The network: how it is built, restored and served, with everything that decides its numbers."""
