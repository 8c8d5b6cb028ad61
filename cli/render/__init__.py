"""Data into text: tables, the live tree of a run, graphs, structured output. Pure, except that it asks the terminal."""
