"""SGLang on the nodes of a job: command lines, processes, health, restarts."""
