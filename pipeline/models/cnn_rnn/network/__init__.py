"""The image network and the recurrent top, with everything that decides their numbers."""
