"""SGLang on the nodes of a job.

How a request travels: the client sends it to the proxy (proxy.py) of the least loaded copy of the model: an address on
the job's first node that never changes, closed while that copy is not healthy. The proxy forwards it to the copy's
server, which spans one or more nodes; each node runs its part as a child process (node_servers.py) under
die_with_owner.py, started and stopped from the first rank over the job's connections (job_nodes.py, command_lines.py).
Meanwhile a thread for each copy (model_copy.py) checks the tokens that it generates (health.py), and restarts it when
one of its parts fails. supervision.py opens and stops all copies together.
"""
