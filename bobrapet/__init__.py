"""Starts the programs of this distribution so that they find their own modules.

Packages of this distribution have names such as ``core``, ``manager`` and ``process``. A user may have modules with
the same names in a folder of ``PYTHONPATH``, which Python searches before installed packages. ``launch`` moves these
folders behind the installed ones, in programs of ours only: ``PYTHONPATH`` itself stays for the programs of steps.

It imports nothing of ours before that.
"""
