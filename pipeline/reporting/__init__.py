"""What the report is made of: its inputs, figures, tables and page."""
