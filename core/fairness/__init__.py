"""What tenants share, shared fairly: turns that go round whoever waits."""
