"""llama.cpp's server on this machine: its weights and its process."""
