"""The command `sdg`."""
