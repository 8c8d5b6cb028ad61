"""Starts the programs of this distribution so that they find their own modules.

Packages of this distribution have names such as ``core``, ``manager`` and ``hub``. A user may have modules with
the same names: installed in the same environment, or in a folder of ``PYTHONPATH``. Therefore the wheel has them in
``bobrapet/_modules``, where Python does not search. ``launch`` adds that folder, in programs of ours only: the programs
of steps see neither our modules nor a ``PYTHONPATH`` of ours.

``launch`` imports nothing of ours before that.
"""
