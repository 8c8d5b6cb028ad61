"""Kinds in version v1beta1; served beside the stored v1alpha1 if a conversion webhook exists for the kind."""
