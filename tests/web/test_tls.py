"""With TLS: a real certificate, a client that knows it, and cookies that never leave in the clear."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from cifar_tune.client import HttpDesk
from cifar_tune.service.refusals import AwayError
from cifar_tune.web.settings import WebSettings
from tests.waiting import PATIENCE

from .conftest import AppOf, Template, study_text
from .serving import serving


@dataclass(frozen=True)
class Served:
    address: str
    certificate: Path


@pytest.fixture(scope="module")
def served(app_of: AppOf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a certificate that it has signed itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl (Debian: apt-get install openssl)")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    settings = WebSettings(port=0, certificate=certificate, key=key)
    with serving(app_of(certificate=certificate, key=key), settings) as address:
        yield Served(address, certificate)


def test_a_client_believes_the_certificate_that_it_was_given(
    served: Served, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.address.startswith("https://")
    with HttpDesk(served.address, template.tokens["viewer"]) as desk, pytest.raises(AwayError, match="SSL_CERT_FILE"):
        desk.queue()
    monkeypatch.setenv("SSL_CERT_FILE", str(served.certificate))
    with HttpDesk(served.address, template.tokens["viewer"]) as desk:
        assert "queued" in {each.study for each in desk.queue()}
    with HttpDesk(served.address.replace("https", "http"), "ct_x") as desk, pytest.raises(AwayError):
        desk.queue()


def test_a_browser_keeps_its_cookie_to_tls(served: Served, template: Template) -> None:
    known = ssl.create_default_context(cafile=served.certificate)
    origin = served.address.rstrip("/")
    with httpx2.Client(base_url=served.address, verify=known, headers={"Origin": origin}, timeout=PATIENCE) as client:
        answer = client.post("/login", data={"token": template.tokens["editor"]})
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith("__Host-cifar_tune_session=")
        assert "Secure" in answer.headers["set-cookie"]
        assert client.post("/v1/studies", json={"text": study_text("over-tls")}).status_code == 201
        elsewhere = {"Origin": "https://127.0.0.1:1"}
        assert client.post("/v1/studies/over-tls/cancel", headers=elsewhere).status_code == 403
        assert "strict-transport-security" not in answer.headers  # the machine may serve other things without TLS
        assert client.post("/logout").status_code == 303
        assert client.get("/v1/me").status_code == 401
