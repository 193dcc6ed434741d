"""What it means when a request gets no response."""

from __future__ import annotations

import asyncio
import errno

import aiohttp

from sdg_helpers.completions.failed_attempts import FATAL, RETRY, UNREACHABLE, FailedAttempt


def explain_connection(error: Exception, message: str, base_url: str, timeout_s: float | None) -> FailedAttempt:
    """Return what a failed connection means. message: the error in words, without keys."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return FailedAttempt(
            FATAL,
            "too_many_files",
            "Too many open files: lower the concurrency, or raise the limit (`ulimit -n 65536`) and run again.",
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return FailedAttempt(
            FATAL,
            "certificate",
            f"{base_url}: this machine does not trust the server's certificate ({message}). Check the "
            "address, or set SSL_CERT_FILE to the certificates of your organisation.",
        )
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return FailedAttempt(UNREACHABLE, "unreachable", message)
    if isinstance(error, asyncio.TimeoutError):
        return FailedAttempt(RETRY, "timeout", f"no complete reply within {timeout_s} s")
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError)):
        return FailedAttempt(RETRY, "disconnected", message)
    return FailedAttempt(RETRY, "bad_reply", message)
