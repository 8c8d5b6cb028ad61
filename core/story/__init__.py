"""The one reader of a Story: its steps with their names and places, and what each part of a step means. Pure.

``story`` (a document → its steps), ``step`` (one step), ``kinds`` (the kinds of steps and their settings), ``fields``
(the parts that hold expressions), ``edges`` (the steps that a step waits for because of them), ``streams`` (the steps
whose packets a step gets).
"""
