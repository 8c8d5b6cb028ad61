"""The one reader of a Story: its steps with their names and places, and what each part of a step means. Pure.

``story`` (a document → its steps), ``choices`` (the same in v1beta1), ``step`` (one step), ``kinds`` (the kinds of
steps, with their settings), ``fields`` (the parts that hold expressions), ``edges`` (the steps that a step waits for
because of them), ``streams`` (the steps whose packets a step gets).
"""
