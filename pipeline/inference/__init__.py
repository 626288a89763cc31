"""Opens classifiers of any format and runs them on clips, streams and cameras; draws their predictions over time."""
