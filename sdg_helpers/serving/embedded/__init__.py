"""llama.cpp's server on this machine.

How a request travels: open_server (launching.py) finds the model's file (weights.py, downloaded by weight_sources.py)
and starts one server process for equal settings in a run's servers folder, or attaches to it. The client sends its
requests to that process (server_process.py) at a free port on loopback, with the key from the server's record. There
llama.cpp answers `slots` requests at a time. The process exits when none of its registered owners is alive.
"""
