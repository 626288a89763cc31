"""Events in long videos: probabilities over time, the events found in them, their files, pictures and evaluation."""
