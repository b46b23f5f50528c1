"""OpenAI's API with the package `openai` as its client, and the other routes."""

from __future__ import annotations

import io
import json
import logging
import shutil
import socket
import tempfile
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

from asr_hlg.errors import OptionError
from asr_hlg.rescore.passes import PassOptions
from asr_hlg.serve import logs
from asr_hlg.serve.graphs import Graphs
from asr_hlg.serve.openai import phrases_of
from asr_hlg.serve.options import ServeOptions
from asr_hlg.transcribe import TranscribeOptions, Transcriber
from tests.support.live_toys import running

WORDS = "the cat slept on the chair while the rain fell outside"


@pytest.fixture(scope="module")
def graphs(root, english, digit_loop):
    folders = root / "graphs" / "en", digit_loop
    return Graphs(ServeOptions(graphs=tuple(map(str, folders)), fast=True))


@pytest.fixture(scope="module")
def server(graphs):
    with running(graphs, max_upload=1.0) as found:
        yield found


@pytest.fixture
def client(server):
    with openai.OpenAI(
        base_url=f"{server.http}v1", api_key="unused", max_retries=0, timeout=60
    ) as found:
        yield found


@pytest.fixture(scope="module")
def talk(root) -> Path:
    return root / "examples" / "03-awb.wav"


def test_models(client, graphs):
    assert [model.id for model in client.models.list()] == graphs.names == ["en", "digit-loop"]
    assert client.models.retrieve("en").id == "en"
    with pytest.raises(openai.NotFoundError, match="known: en"):
        client.models.retrieve("fr")


@pytest.mark.parametrize("model", ["en", "whisper-1", "gpt-4o-mini-transcribe"])
def test_a_transcription(client, talk, model):
    found = client.audio.transcriptions.create(model=model, file=talk)
    assert found.text == WORDS
    assert found.usage.type == "duration"


def test_the_words_are_those_of_the_command_line(client, talk, root):
    first_pass = TranscribeOptions(passes=PassOptions())
    transcriber = Transcriber.from_graph(root / "graphs" / "en", options=first_pass)
    [expected] = transcriber.transcribe([talk])
    found = client.audio.transcriptions.create(
        model="en",
        file=talk,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert found.duration == pytest.approx(expected.duration, abs=0.01)
    assert [(w.word, w.start, w.end) for w in found.words] == [
        (w.text, pytest.approx(w.start, abs=0.01), pytest.approx(w.end, abs=0.01))
        for w in expected.words
    ]
    assert " ".join(segment.text for segment in found.segments) == WORDS
    assert all(segment.avg_logprob <= 0 for segment in found.segments)


def test_segments_alone_are_the_default(client, talk):
    found = client.audio.transcriptions.create(
        model="en", file=talk, response_format="verbose_json"
    )
    assert found.words is None
    assert found.segments


def test_text_and_subtitles(client, talk):
    def transcription(response_format: str) -> str:
        return client.audio.transcriptions.create(
            model="en", file=talk, response_format=response_format
        )

    assert transcription("text").strip() == WORDS
    assert transcription("srt").startswith("1\n00:00:0")
    assert transcription("vtt").startswith("WEBVTT\n\n00:00:0")


def test_events_of_a_stream(client, talk):
    events = list(client.audio.transcriptions.create(model="en", file=talk, stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == WORDS


def test_an_error_in_a_stream_of_events(client):
    events = client.audio.transcriptions.create(
        model="en", file=("a.wav", b"no sound"), stream=True
    )
    with pytest.raises(openai.APIError, match="not a sound file"):
        list(events)


def test_the_prompt_has_hotwords(client, talk, graphs):
    prompt = "the reign fell, rhyme"
    found = client.audio.transcriptions.create(model="en", file=talk, prompt=prompt)
    assert found.text == WORDS.replace("rain", "reign")


def test_phrases_of_a_prompt():
    prose = "this is a long sentence of prose that names nothing at all"
    assert phrases_of(f'Anne Frank, "Zürich";{prose}\nAnne  Frank') == ("Anne Frank", "Zürich")
    assert phrases_of("") == ()


def test_a_body_above_the_limit(client, server):
    with pytest.raises(openai.APIStatusError) as error:
        client.audio.transcriptions.create(model="en", file=("a.wav", bytes(2_000_000)))
    assert error.value.status_code == 413
    assert error.value.code == "too_large"
    head = b"--x\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\n"
    answer = httpx.post(
        f"{server.http}v1/audio/transcriptions",
        content=iter([head, *[bytes(100_000)] * 20]),  # without a content-length
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 413


def test_a_body_that_comes_too_slowly():
    with running(idle_timeout=0.3) as server:
        host, port = server.http.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
                b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            assert b" 408 " in client.recv(1000).splitlines()[0]
        health = httpx.get(f"{server.http}health").json()
        assert health["status"] == "ok"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"file": ("a.wav", b"no sound")}, "sound"),
        ({"file": ("list.txt", b"/etc/passwd\n")}, "sound"),
        ({"file": ("list.m3u8", b"#EXTM3U\nfile:///etc/passwd\n")}, ""),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"timestamp_granularities": ["phone"]}, "granularities"),
    ],
)
def test_errors_in_openai_format(client, talk, values, word):
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.transcriptions.create(**{"model": "en", "file": talk, **values})
    assert error.value.type == "invalid_request_error"
    assert word in error.value.message
    assert "asr-hlg-serve" not in error.value.message  # no name of a temporary folder


def test_errors_that_the_client_cannot_make(server):
    url = f"{server.http}v1/audio/transcriptions"
    for answer, status in (
        (httpx.post(url), 400),
        (httpx.post(url, data={"model": "en"}), 400),
        (httpx.post(url, content=b"x", headers={"content-type": "multipart/form-data"}), 400),
        (httpx.get(url), 405),
        (httpx.get(f"{server.http}v2"), 404),
        (httpx.get(f"{server.http}page/..%2fapp.py"), 404),
        (httpx.post(url, headers={"origin": "http://evil.example"}), 403),
    ):
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]


def test_uploads_leave_no_file_behind(client, talk):
    private = Path(tempfile.gettempdir())
    assert private.name.startswith("asr-hlg-serve-")
    assert private.stat().st_mode & 0o077 == 0
    client.audio.transcriptions.create(model="en", file=talk)
    assert list(private.iterdir()) == []


def test_details_of_a_line(server, talk):
    with open(talk, "rb") as sound:
        answer = httpx.post(
            f"{server.http}lines",
            files={"file": sound},
            data={"text": WORDS.replace("slept", "sleppt"), "model": "en"},
            timeout=60,
        ).json()
    assert [word["word"] for word in answer["words"]] == WORDS.replace("slept", "sleppt").split()
    for word in answer["words"]:
        found = {other["word"]: other["posterior"] for other in word["alternatives"]}
        assert word["word"] in found
        assert sum(found.values()) <= 1.001
        assert word["start"] < word["end"]
    assert {other["word"] for other in answer["words"][2]["alternatives"]} >= {"slept", "sleppt"}
    phones = " ".join(phone["word"] for phone in answer["phones"])
    assert phones.startswith("DH AH K AE T S L EH P T AA N")
    if shutil.which("dot"):
        assert "<svg" in answer["lattice"]
        assert "outside" in answer["lattice"]


def test_health_metrics_and_the_page(server):
    health = httpx.get(f"{server.http}health").json()
    assert health["status"] == "ok"
    assert health["max_streams"] == 32
    metrics = httpx.get(f"{server.http}metrics").text
    assert "asr_hlg_streams 0.0" in metrics
    page = httpx.get(server.http)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers


def test_other_pages_are_allowed_by_an_option():
    with running(cors=("https://example.org",)) as server:
        answer = httpx.get(f"{server.http}health", headers={"origin": "https://example.org"})
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        answer = httpx.get(f"{server.http}health", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_keys(tmp_path):
    (tmp_path / "keys").write_text("right\n")
    with running(api_key_file=tmp_path / "keys") as server:
        for key in ("wrong", "righ", "rightt"):
            header = {"authorization": f"Bearer {key}"}
            answer = httpx.get(f"{server.http}v1/models", headers=header)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert httpx.get(f"{server.http}metrics").status_code == 401
        assert httpx.get(f"{server.http}health").status_code == 200
        assert httpx.get(server.http).status_code == 200
        header = {"authorization": "Bearer right"}
        assert httpx.get(f"{server.http}metrics", headers=header).status_code == 200


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"api_key_file": "none"}, "keys cannot be read"),
        ({"api_key_file": "empty"}, "has no keys"),
        ({"tls_certificate": "empty", "tls_key": "empty"}, "TLS files"),
        ({"tls_certificate": "empty"}, "--tls-key"),
        ({"host": "192.0.2.1"}, "cannot listen"),
        ({"max_streams": 0}, "max_streams"),
    ],
)
def test_wrong_options(tmp_path, options, match):
    (tmp_path / "empty").write_text("")
    files = ("api_key_file", "tls_certificate", "tls_key")
    options = {k: tmp_path / v if k in files else v for k, v in options.items()}
    with pytest.raises(OptionError, match=match), running(**options):
        pass


def test_logs_are_json_without_texts_of_exceptions(monkeypatch):
    for name in ("asr_hlg", "asr_hlg.serve", "uvicorn", "uvicorn.error"):
        # import-linter, in another test, disables the loggers that exist
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    stream = io.StringIO()
    handler = logs.set_up(stream)
    try:
        try:
            raise ValueError("what somebody said")
        except ValueError as error:
            logs.failure("stream failed", error, seconds=1.5)
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
        logs.event("started", graphs=["en"])
    finally:
        for name in ("asr_hlg", "uvicorn"):
            logging.getLogger(name).handlers.remove(handler)
            logging.getLogger(name).propagate = True
            logging.getLogger(name).setLevel(logging.NOTSET)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row["event"] for row in rows] == [
        "stream failed",
        "Exception in ASGI application",
        "started",
    ]
    assert rows[0]["exception"] == rows[1]["exception"] == "ValueError"
    assert rows[0]["seconds"] == 1.5
    assert rows[2]["graphs"] == ["en"]
    assert "somebody" not in stream.getvalue()
