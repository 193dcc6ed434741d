"""A stand-in for the package sglang, found by PYTHONPATH: as much of it as the supervision of servers deals with."""
