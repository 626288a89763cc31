"""The library: a package for each subject; lower ones never import higher ones (see pyproject.toml, import-linter)."""
