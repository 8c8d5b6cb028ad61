"""What bobrapet, the Go operator, has stored and read: recorded once, so the tests need no Go."""
