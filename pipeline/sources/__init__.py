"""Where clips come from: archives, folders and listings, their layouts, the store that survives a kill, splits, the manifest."""
