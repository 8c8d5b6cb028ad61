"""The SDK as a client of the model: Impulses that submit StoryTriggers, and containers that perform effects.

``strands`` runs the blocking code of the SDK inside Trio; ``api`` answers its requests from the model cluster; ``fate``
decides which request fails and which client dies; ``submissions`` and ``effects`` say what the clients do.
"""
