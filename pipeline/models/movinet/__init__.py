"""The MoViNet family: builds the variants, restores published weights, makes them fast on a CPU, and runs them as streams."""
