"""Whatever comes in by list and watch: it stops no informer, and costs no more than the object that it is about."""
