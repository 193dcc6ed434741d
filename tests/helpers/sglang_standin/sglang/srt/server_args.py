"""The same words as on the server's command line."""

from sglang.launch_server import arguments


def prepare_server_args(words):
    return arguments(words)
