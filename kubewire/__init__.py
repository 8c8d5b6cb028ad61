"""Formats shared by API servers and their clients: the operator and the embedded cluster use it, and it imports
neither.
"""
