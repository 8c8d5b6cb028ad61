"""What the operator and programs on the SDK must compute alike: durations, instants, canonical JSON, names, references.

Pure, with the standard library alone, because a step starts at once and stays small.
"""
