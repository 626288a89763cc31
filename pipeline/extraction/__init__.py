"""Clips to TFRecords of JPEG frames: decoding in parallel, the shards of each split, and the summary of what was decoded."""
