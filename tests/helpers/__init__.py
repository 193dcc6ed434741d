"""Helpers that test files share: scripted servers, clones, problems, a private Slurm. No test file imports another."""
