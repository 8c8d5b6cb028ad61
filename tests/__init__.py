"""All tests but those that stand beside the fuzzing suites; docs/architecture.md says which folder holds what."""
