"""What runs the checks, and what makes a release. No product code imports it."""
