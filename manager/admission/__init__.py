"""The admission server of one manager process: its view of the cluster, its certificate, its port.

Every replica serves it, whether or not it leads.
"""
