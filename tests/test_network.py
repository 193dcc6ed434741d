"""Which proxy and which certificates the package uses."""

import pytest

from sdg_helpers import network
from sdg_helpers.errors import SdgError

PROXY = {"https_proxy": "http://proxy:3128"}
URL = "https://models.example/v1"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", *network._BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "values", "expected"),
    [
        (URL, PROXY, "http://proxy:3128"),
        (URL, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (URL, {"ALL_PROXY": "http://all:1"}, "http://all:1"),
        (URL, {"ALL_PROXY": "socks5://all:1", **PROXY}, "http://proxy:3128"),
        (URL, {}, None),
        ("http://10.0.0.7:30000/v1", {"http_proxy": "http://proxy:3128", "all_proxy": "http://all:1"}, None),
        ("https://localhost:8443/v1", PROXY, None),
        ("https://[::1]:8443/v1", PROXY, None),
    ],
)
def test_proxies_serve_https_addresses_only(environment, url, values, expected):
    for name, value in values.items():
        environment.setenv(name, value)
    assert network.proxy_for(url) == expected


@pytest.mark.parametrize(
    ("exempt", "url", "direct"),
    [
        ("models.example", URL, True),
        (".example", URL, True),
        ("*.example, other", URL, True),
        ("other example", URL, True),
        ("*", URL, True),
        ("https://models.example", URL, True),
        ("models.example:443", URL, True),
        ("models.example:8443", URL, False),
        ("odels.example", URL, False),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("[fd00::1]", "https://[fd00::1]/v1", True),
    ],
)
def test_no_proxy_names_exceptions(environment, exempt, url, direct):
    environment.setenv("HTTPS_PROXY", "socks5://me:hush@proxy:1080")
    environment.setenv("NO_PROXY", exempt)
    if direct:
        assert network.proxy_for(url) is None
    else:
        with pytest.raises(SdgError, match=r"HTTPS_PROXY=socks5://proxy:1080: only http.*NO_PROXY") as error:
            network.proxy_for(url)
        assert "hush" not in str(error.value)


def test_a_variable_that_names_no_certificates_is_an_error(environment, tmp_path):
    (tmp_path / "own.pem").write_text("no certificate")
    environment.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "own.pem"))
    with pytest.raises(SdgError, match="REQUESTS_CA_BUNDLE=.*own.pem: cannot read certificates"):
        network.ssl_context()
