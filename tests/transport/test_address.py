"""Which addresses are a base URL."""

import pytest

from harvester.errors import UsageError
from harvester.transport import HttpTransport, check_base_url


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.weixin.qq.com", "https://api.weixin.qq.com"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://host/prefix/", "https://host/prefix"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("http://wechat_simulator:8765", "http://wechat_simulator:8765"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_a_base_url_loses_its_last_slash(given: str, kept: str) -> None:
    assert check_base_url(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "api.weixin.qq.com",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://host:port",
        "http://[::1",
        "https://host?x=1",
        "https://host#x",
        "https://user:s3cret@host",
        None,
        b"http://host",
    ],
)
def test_anything_else_is_no_base_url(given: object) -> None:
    with pytest.raises(UsageError, match=r"write it as https://api.weixin.qq.com$"):
        HttpTransport(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["socks5", "SOCKS5H", "socks4", "ftp"])
def test_a_proxy_that_speaks_no_http_is_refused_by_its_scheme(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", f"{scheme}://me:s3cret@127.0.0.1:1080")
    with pytest.raises(UsageError) as refused:
        HttpTransport("https://api.weixin.qq.com")
    assert str(refused.value) == (
        f"HTTPS_PROXY names a proxy with the scheme {scheme.lower()}, which is not"
        " supported; give an HTTP proxy: http://HOST:PORT"
    )
    HttpTransport("http://api.weixin.qq.com")  # it is for https alone


@pytest.mark.parametrize(
    "proxy",
    [
        "http://[::1",
        "http://h:port",
        "http://h:99999",
        "http://",
        "h:p:q",
        "http://u:p@",
        "http://a b",
    ],
)
def test_a_proxy_that_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(UsageError, match=r"^the URL of the proxy in the environment is not valid"):
        HttpTransport("https://api.weixin.qq.com")
    for url in ("HTTP://user:p%40ss@Host.example:8080/", "https://[::1]:3128", "http://proxy_1"):
        monkeypatch.setenv("https_proxy", url)
        HttpTransport("https://api.weixin.qq.com")


def test_a_proxy_without_a_scheme_speaks_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "127.0.0.1:3128")
    HttpTransport("https://api.weixin.qq.com")
