"""SGLang on the nodes of a job.

How a request travels: the client sends it to the proxy (proxy.py), a fixed address on the job's first node that is
closed while no server is healthy. The proxy forwards it to the only server, or to the router in front of several
(command_lines.py). That server spans one or more nodes; each node runs its part as child processes (node_servers.py)
under die_with_owner.py, started and stopped from the first rank over the job's connections (job_nodes.py). Meanwhile
supervision.py checks the tokens that every server generates (health.py), and restarts all parts when one fails.
"""
