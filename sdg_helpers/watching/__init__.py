"""Watch a run at work: its servers one by one, how long it will take, metrics for others, messages to people."""
