"""The template language of Go's ``text/template``, from text to closures.

Read ``lexer`` → ``parser`` → ``nodes`` (the tree) → ``compiler`` (statements) and ``operands`` (values and calls);
beside them ``values`` (types and their rules), ``printing``, ``formatting`` (``printf``), ``jsontext`` and
``builtins``.
"""
