"""The image network and the recurrent top: all modules that influence their outputs."""
