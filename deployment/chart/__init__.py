"""The Helm chart in ``deployment/charts/bobrapet``, rendered from the same objects as the Kustomize set. Pure.

``nodes`` (places of an object that depend on the values of a release), ``templates`` (an object with such places as a
template), ``values_table`` and ``values`` (the values, their file and their schema), ``release`` (names and conditions
of a release), ``pods``, ``removal`` and ``documents`` (the objects with their places), ``definitions.tpl`` (the
definitions, which it reads from files of the chart), ``partials`` and ``names.tpl`` (named templates and notes),
``files`` (the files of the chart).
"""
