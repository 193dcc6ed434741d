"""A private Slurm of several nodes on this machine, for the tests."""
