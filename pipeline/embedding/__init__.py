"""The features of clips by the frozen backbone: computed once for each view of each clip, kept, and assembled into splits."""
