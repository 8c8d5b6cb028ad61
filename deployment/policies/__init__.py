"""The ValidatingAdmissionPolicies of an installation: one module each, their form in ``policy``, and the requests that
they leave alone in ``exemptions``.
"""
