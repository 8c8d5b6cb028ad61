"""What ``make release`` does: it checks, builds and describes a release, and pushes nothing. See docs/releasing.md."""
