"""One way to open any classifier and to run it on clips, streams and cameras, and pictures of what it says."""
