"""All tests except those beside the fuzzing suites. docs/architecture.md says which folder holds what."""
