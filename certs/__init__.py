"""The operator's own certificates: certificate authority, serving certificate, rotation, distribution of trust.

``authority`` issues; ``material`` is one generation of certificates and keys; ``policy`` decides the next step;
``succession`` creates the next generation; ``secret`` converts it to a Secret and back, ``store`` keeps the Secret at
the API server; ``inject`` writes the CA bundles that API servers trust; ``serving`` is the TLS context; ``rotation`` is
the loop over them; ``mounted`` serves files that another component renews.
"""
