"""Turns data into text: tables, the live tree of a run, graphs, structured output. Pure."""
