"""The template language of Go's ``text/template``, from text to closures.

Read ``lexer`` → ``parser`` → ``nodes`` (the tree) → ``compiler`` (statements) → ``operands`` (values), ``fields``,
``calls`` and ``arguments``, which work on ``frames``. Other modules are ``values`` (types and their rules),
``printing``, ``formatting`` (``printf``, with ``directives`` and ``floats``), ``jsontext``, ``characters`` and
``builtins``.
"""
