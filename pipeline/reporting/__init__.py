"""The report of a run: its inputs, figures, tables and page. A new figure or table is one function; see `parts`."""
