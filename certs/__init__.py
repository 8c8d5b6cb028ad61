"""Who we are: certificate authority, serving certificate, rotation, trust distribution.

``authority`` issues; ``material`` is one generation of certificates and keys; ``policy`` names what to do next;
``succession`` makes the generation that follows; ``secret`` spells it as a Secret, ``store`` keeps that at the API
server; ``inject`` tells API servers whom to trust; ``serving`` is the TLS context; ``rotation`` is the loop over them;
``mounted`` serves files that somebody else renews.
"""
