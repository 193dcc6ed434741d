"""Leases over blocks: a stage's servers take their work from a shared folder, block by block."""
