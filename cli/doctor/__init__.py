"""The checks of ``bobrapet doctor``: one module each, with a pure function from facts to answers, and its requests.

``context`` is what every check gets; ``examination`` runs them. No check changes anything on the server.
"""
