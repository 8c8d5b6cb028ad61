"""Questions that an API server answers as the real one does: the model, the embedded one, the real one."""
