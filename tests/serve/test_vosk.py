"""Vosk's protocol, spoken by a client as its documentation describes one: `websockets` alone."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, suppress

import httpx2 as httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from asr_hlg.output.transcript import Word
from asr_hlg.serve.vosk import times_of
from tests.support.live_toys import RATE, ToyGraphs, running, spoken


@pytest.fixture(scope="module")
def server():
    with running(max_streams=3, idle_timeout=1.5, total_timeout=60.0) as found:
        yield found


@pytest.fixture
def client(server):
    with connect(server.ws) as socket:
        yield socket


def configure(client, **config) -> None:
    with suppress(ConnectionClosed):  # `closing` then says why
        client.send(json.dumps({"config": {"sample_rate": RATE, **config}}))


def ask(client, message) -> dict:
    client.send(message)
    return json.loads(client.recv(timeout=20))


def closing(client) -> tuple[int, str]:
    """Code and reason with which the server closes the connection."""
    try:
        while True:
            client.recv(timeout=20)
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


def test_every_message_of_sound_has_one_answer(client):
    configure(client)
    assert ask(client, spoken("one")) == {"partial": "one"}
    assert ask(client, spoken("two three")) == {"partial": "one two three"}
    answer = ask(client, spoken(". four"))
    assert answer["text"] == "one two three"
    assert answer["result"] == [
        {"conf": 0.875, "end": 0.1, "start": 0.0, "word": "one"},
        {"conf": 0.875, "end": 0.2, "start": 0.1, "word": "two"},
        {"conf": 0.875, "end": 0.3, "start": 0.2, "word": "three"},
    ]
    assert ask(client, spoken("five")) == {"partial": "four five"}
    last = ask(client, '{"eof" : 1}')
    assert last["text"] == "four five"
    assert last["result"][0]["start"] == 0.4
    assert closing(client)[0] == 1000


def test_the_eof_without_words_is_an_empty_text(client):
    configure(client)
    assert ask(client, spoken(". . .")) == {"partial": ""}
    assert ask(client, '{"eof": 1}') == {"text": ""}


def test_segments_that_one_message_ends_are_one_answer(client):
    configure(client)
    answer = ask(client, spoken("one . two . three"))
    assert answer["text"] == "one two"
    assert [word["start"] for word in answer["result"]] == [0.0, 0.2]
    assert ask(client, '{"eof": 1}')["text"] == "three"


def test_words_can_be_left_out(client):
    configure(client, words=False)
    assert ask(client, spoken("one .")) == {"text": "one"}


def test_partial_words(client):
    configure(client, partial_words=True)
    assert ask(client, spoken("one")) == {
        "partial": "one",
        "partial_result": [{"conf": 0.875, "end": 0.1, "start": 0.0, "word": "one"}],
    }


def test_alternatives(client):
    configure(client, max_alternatives=2)
    assert ask(client, spoken("one two")) == {"partial": "one two"}
    assert ask(client, spoken(".")) == {
        "alternatives": [
            {
                "confidence": -1.0,
                "result": [
                    {"end": 0.1, "start": 0.0, "word": "one"},
                    {"end": 0.2, "start": 0.1, "word": "two"},
                ],
                "text": "one two",
            },
            {
                "confidence": -2.0,
                "result": [{"end": 0.2, "start": 0.1, "word": "two"}],
                "text": "two",
            },
        ]
    }
    empty = {"alternatives": [{"text": "", "confidence": 1.0}]}
    assert ask(client, '{"eof": 1}') == empty


def test_a_phrase_list_restricts_the_words(client, server):
    configure(client, phrase_list=["one three", "[unk]"], model="other", hotwords=["two"])
    assert ask(client, spoken("one")) == {"partial": ""}
    assert server.graphs.asked[-1] == ("other", ("two",), ("one three",), 1)


def test_a_reset_ends_a_segment_and_times_go_on(client):
    configure(client)
    ask(client, spoken("one two"))
    assert ask(client, '{"reset": 1}')["text"] == "one two"
    ask(client, spoken("three"))
    last = ask(client, '{"eof": 1}')
    assert last["result"] == [{"conf": 0.875, "end": 0.3, "start": 0.2, "word": "three"}]


def test_what_is_configured_later_counts_after_a_reset(client, server):
    configure(client)
    ask(client, spoken("one"))
    configure(client, sample_rate=16000, hotwords=["two"], model="other")
    ask(client, spoken("two"))
    assert server.graphs.asked[-1] == ("toy", (), (), 1)
    assert ask(client, '{"reset": 1}')["text"] == "one two"
    assert ask(client, spoken("three")) == {"partial": "three"}
    assert server.graphs.asked[-1] == ("other", ("two",), (), 1)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("no JSON", 1007, "JSON"),
        ("[" * 100_000, 1007, "JSON"),
        ('{"hello": 1}', 1007, "config, eof or reset"),
        ('{"config": 3}', 1007, "object"),
        ('{"config": {"sample_rate": "fast"}}', 1007, "sample_rate"),
        ('{"config": {"sample_rate": 1e99}}', 1007, "sample_rate"),
        ('{"config": {"max_alternatives": -1}}', 1007, "max_alternatives"),
        ('{"config": {"phrase_list": [3]}}', 1007, "phrase_list"),
        ('{"config": {"phrase_list": ["a \\" b"]}}', 1007, "quotation"),
        ('{"config": {"model": "../en"}}', 1007, "known: toy"),
        (b"\x01\x00\x01", 1007, "16 bits"),
        (b"\x1a\x45\xdf\xa3webm", 1007, "compressed: send samples"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_message_closes_its_connection_with_a_reason_and_no_other(
    server, client, message, code, reason
):
    with connect(server.ws) as other:
        configure(other)
        ask(other, spoken("one"))
        configure(client)
        with suppress(ConnectionClosed):
            client.send(message)
        found = closing(client)
        assert found[0] == code
        assert reason in found[1]
        assert ask(other, spoken("two")) == {"partial": "one two"}


def test_a_message_that_is_too_large_closes_its_connection_and_no_other(server, client):
    with connect(server.ws) as other:
        configure(other)
        ask(other, spoken("one"))
        with suppress(ConnectionClosed):
            client.send(bytes(5 << 20))
        assert closing(client)[0] in (1009, 1006)  # 1006: reset while the message is being sent
        assert ask(other, spoken("two")) == {"partial": "one two"}


def test_a_failure_of_the_recogniser_closes_its_connection_without_its_text(client, server, caplog):
    configure(client)
    client.send(b"\xe7\x03" * 100)
    code, reason = closing(client)
    assert (code, "log" in reason) == (1011, True)
    assert "secret" not in reason + caplog.text


def test_more_streams_than_there_are_places(server):
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(server.ws)) for _ in range(3)]
        for socket in sockets:
            configure(socket)
            ask(socket, spoken("one"))
        with connect(server.ws) as one_more:
            code, reason = closing(one_more)
        assert code == 1013
        assert "3 streams" in reason
        assert ask(sockets[0], spoken("two")) == {"partial": "one two"}
    wait_for_place(server)


def wait_for_place(server) -> None:
    """Wait until closed connections have given back their places."""
    for _ in range(100):
        with connect(server.ws) as socket:
            configure(socket)
            socket.send(spoken("one"))
            try:
                socket.recv(timeout=20)
                return
            except ConnectionClosed:
                time.sleep(0.05)
    pytest.fail("no place became free")


def test_a_silent_client_is_told_its_words_and_disconnected(client):
    configure(client)
    ask(client, spoken("one two"))
    assert json.loads(client.recv(timeout=20))["text"] == "one two"
    assert closing(client) == (1008, "nothing was received for 1.5 s")


def test_the_longest_time_of_a_stream():
    with running(total_timeout=0.5) as server, connect(server.ws) as client:
        configure(client)
        ask(client, spoken("one"))
        assert json.loads(client.recv(timeout=20))["text"] == "one"
        assert closing(client)[0] == 1008


def test_a_page_of_another_server_is_refused(server):
    for origin, code in (("http://evil.example", 1008), (server.http.rstrip("/"), None)):
        with connect(server.ws, origin=origin) as client:
            configure(client)
            if code is not None:
                assert closing(client)[0] == code
            else:
                assert ask(client, spoken("one")) == {"partial": "one"}


def test_api_keys(tmp_path):
    (tmp_path / "keys").write_text("# of the team\nfirst-key\nsecond-key\n")
    with running(api_key_file=tmp_path / "keys") as server:
        header = {"Authorization": "Bearer second-key"}
        with connect(server.ws, additional_headers=header) as client:
            configure(client)
            assert ask(client, spoken("one")) == {"partial": "one"}
        with connect(server.ws) as client:
            configure(client, api_key="first-key")
            assert ask(client, spoken("one")) == {"partial": "one"}
        for config in ({}, {"api_key": "first"}, {"api_key": "# of the team"}):
            with connect(server.ws) as client:
                configure(client, **config)
                assert closing(client)[0] == 1008
        with connect(server.ws) as client:
            with suppress(ConnectionClosed):
                client.send(spoken("one"))
            assert closing(client)[0] == 1008


def test_a_client_without_a_key_has_a_place_for_a_short_time_only(tmp_path, monkeypatch):
    from asr_hlg.serve import live

    monkeypatch.setattr(live, "KEY_TIMEOUT", 0.3)
    (tmp_path / "keys").write_text("right")
    with running(api_key_file=tmp_path / "keys") as server, connect(server.ws) as client:
        assert closing(client) == (1008, "nothing was received for 0.3 s")


def test_a_stop_lets_streams_finish_and_refuses_new_ones():
    with running(stop_timeout=30.0) as server, connect(server.ws) as client:
        configure(client)
        ask(client, spoken("one"))
        server.stop()
        with connect(server.ws) as late:
            assert closing(late)[0] == 1013
        assert ask(client, spoken("two")) == {"partial": "one two"}
        assert ask(client, '{"eof": 1}')["text"] == "one two"
        server.thread.join(20)
        assert not server.thread.is_alive()


def test_a_stop_after_its_deadline_sends_the_words_so_far():
    with running(stop_timeout=0.2) as server, connect(server.ws) as client:
        configure(client)
        ask(client, spoken("one two"))
        server.stop()
        assert json.loads(client.recv(timeout=20))["text"] == "one two"
        assert closing(client) == (1001, "the server is stopping")
        server.thread.join(20)
        assert not server.thread.is_alive()


def test_a_client_that_never_reads_is_cut_off_and_others_go_on(monkeypatch):
    from asr_hlg.serve import live

    monkeypatch.setattr(live, "SEND_TIMEOUT", 0.5)
    graphs = ToyGraphs()
    with running(graphs) as server, connect(server.ws) as other:
        configure(other)
        ask(other, spoken("one"))
        # `websockets` stops reading from its socket once a message waits
        with connect(server.ws, max_queue=1, close_timeout=0.1) as deaf:
            configure(deaf, partial_words=True)
            with suppress(ConnectionClosed):
                for _ in range(1000):
                    deaf.send(spoken("one two three four five six seven"))
            for _ in range(300):
                metrics = httpx.get(f"{server.http}metrics").text
                if 'asr_hlg_streams_ended_total{reason="slow_reader"} 1.0' in metrics:
                    break
                time.sleep(0.1)
            else:
                pytest.fail("the server waits on and on")
        assert ask(other, spoken("two")) == {"partial": "one two"}


def test_times_of_other_words_are_those_that_they_are_aligned_with():
    timed = [Word("a", 0.0, 0.5, 1.0), Word("cat", 0.5, 1.0, 1.0), Word("sat", 1.0, 2.0, 1.0)]
    found = times_of(["the", "a", "hat", "sat"], timed)
    assert [(w.text, w.start, w.end) for w in found] == [
        ("the", 0.0, 0.0),
        ("a", 0.0, 0.5),
        ("hat", 0.5, 1.0),
        ("sat", 1.0, 2.0),
    ]
    assert times_of([], timed) == []
    assert [w.text for w in times_of(["x"], [])] == ["x"]
