"""The pipeline's stages and commands: `python -m stages.<name> --help`."""
