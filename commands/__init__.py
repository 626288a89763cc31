"""What users run by hand: python -m commands.<command> --help."""
