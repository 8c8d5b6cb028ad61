"""Kinds in version v1beta1; served beside the stored v1alpha1 where a conversion webhook is there for it."""
