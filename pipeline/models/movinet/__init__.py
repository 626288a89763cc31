"""MoViNet: the table of variants, how they are built, restored, made fast on a CPU, and cut into a backbone and a head."""
