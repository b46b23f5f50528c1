"""The command ``asr-hlg serve`` as a process: its output, its logs, its end."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import sys

import httpx2 as httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from asr_hlg.cli import main
from asr_hlg.serve import logs, server
from asr_hlg.serve.options import ServeOptions
from tests.support.live_toys import RATE, running, spoken


@pytest.mark.real
def test_sigterm_ends_with_0_after_the_streams(root, english, tmp_path):
    command = [sys.executable, "-m", "asr_hlg.cli", "serve", "--fast", "--port", "0"]
    command += ["--graph", str(root / "graphs" / "en"), "--stop-timeout", "0.1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            assert httpx.get(f"{address}health").json()["graphs"] == ["en"]
            with connect(address.replace("http", "ws")) as client:
                client.send('{"config": {"sample_rate": 16000}}')
                client.send(bytes(3200))
                client.recv(timeout=60)
                process.send_signal(signal.SIGTERM)
                assert json.loads(client.recv(timeout=60)) == {"text": ""}
                with pytest.raises(ConnectionClosed):
                    client.recv(timeout=60)
            messages = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 0, messages
    rows = [json.loads(line) for line in messages.splitlines()]
    assert [row["event"] for row in rows] == ["started", "stopping", "stream ended", "stopped"]
    assert rows[2]["reason"] == "stopping"
    assert rows[2]["sound"] == 0.1


def test_arguments_are_the_options(monkeypatch):
    found = []
    monkeypatch.setattr(logs, "set_up", lambda: None)
    monkeypatch.setattr(server, "serve", lambda options, on_start: found.append(options))
    assert main(["serve"]) == 0
    assert found == [ServeOptions()]
    assert main(["serve", "--graph", "en", "graphs/light", "--port", "2701", "--max-upload=5"]) == 0
    assert found[1] == ServeOptions(graphs=("en", "graphs/light"), port=2701, max_upload=5.0)


def test_a_missing_package_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    assert main(["serve"]) == 1
    assert "asr-hlg[serve]" in capsys.readouterr().err


def test_tls_by_files(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, which makes the certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    trusted = ssl.create_default_context(cafile=certificate)
    with running(tls_certificate=certificate, tls_key=key) as found:
        assert found.http.startswith("https://")
        assert httpx.get(f"{found.http}health", verify=trusted).status_code == 200
        with connect(found.ws, ssl=trusted) as client:
            client.send(json.dumps({"config": {"sample_rate": RATE}}))
            client.send(spoken("one"))
            assert json.loads(client.recv(timeout=20)) == {"partial": "one"}
