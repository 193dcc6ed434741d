"""What several test files share: servers, clones, problems, a private Slurm. No test file imports another."""
