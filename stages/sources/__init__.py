"""Where clips come from: archives and folders, what their names say, the store that survives a kill, splits and the manifest."""
