"""A server of OpenAI's chat API that fails in every way that servers do, by a plan that a seed fixes."""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How often a request meets what; the rest is answered.
TROUBLES = {
    "busy": 0.06,
    "busy, seconds": 0.03,
    "busy, date": 0.01,
    "500": 0.05,
    "503": 0.03,
    "stall": 0.01,
    "drip": 0.01,
    "cut": 0.05,
    "cut headers": 0.02,
    "html": 0.03,
    "other json": 0.03,
    "no content": 0.02,
    "error in 200": 0.02,
}
# A call meets trouble so often at most: then it is answered, so that no test depends on luck.
MOST_TROUBLES = 4


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, address):
        pass  # a client that was killed, or that waits no longer


class FailingServer:
    """Answers `점수: N` to prompts, N made of the prompt.

    Attributes:
        served: whole replies that were sent, by prompt.
        met: how often which trouble was met.
        most_running: the largest number of requests at a time.
    """

    def __init__(self, troubles=TROUBLES, *, seed=0, capacity=0, latency_s=0.0, most_troubles=MOST_TROUBLES):
        """`capacity`: with more requests than that at a time the server is busy; 0: never."""
        self.latency_s = latency_s
        self.words = {}
        self.troubles, self.seed, self.capacity, self.most_troubles = troubles, seed, capacity, most_troubles
        self.served, self.met, self.tried = Counter(), Counter(), Counter()
        self.running = self.most_running = 0
        self.seen = defaultdict(list)
        self.lock = threading.Lock()
        self.on_served = lambda count: None
        self.closing = threading.Event()
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def trouble(self, prompt):
        """What the next request with a prompt meets: "" for an answer."""
        with self.lock:
            self.tried[prompt] += 1
            number = self.tried[prompt]
        if number > self.most_troubles:
            return ""
        draw = random.Random(f"{self.seed} {number} {prompt}").random()
        for name, share in self.troubles.items():
            draw -= share
            if draw < 0:
                return name
        return ""

    def score(self, prompt):
        """The score that a prompt is answered with, 1 to 10."""
        return random.Random(prompt).randint(1, 10)

    def reply(self, prompt):
        """The whole reply to a prompt."""
        return f"이유는 이렇습니다.\n점수: {self.score(prompt)}"


def _handler(owner):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._send(200, {"data": [{"id": "심사"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prompt = body["messages"][-1]["content"]
            with owner.lock:
                owner.running += 1
                owner.most_running = max(owner.most_running, owner.running)
                full = owner.capacity and owner.running > owner.capacity
                owner.seen[prompt].append(body)
            try:
                trouble = "busy" if full else owner.trouble(prompt)
                with owner.lock:
                    owner.met[trouble] += 1
                self._meet(trouble, prompt) if trouble else self._answer(prompt)
            finally:
                with owner.lock:
                    owner.running -= 1

        def _answer(self, prompt):
            owner.closing.wait(owner.latency_s)
            self._send(200, self._whole(prompt))
            with owner.lock:
                owner.served[prompt] += 1
                count = owner.served.total()
            owner.on_served(count)

        def _whole(self, prompt):
            text = owner.reply(prompt)
            usage = {"prompt_tokens": len(prompt), "completion_tokens": 10}
            return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}

        def _meet(self, trouble, prompt):
            if trouble == "busy":
                self._send(429, {"error": {"message": "slow down"}})
            elif trouble == "busy, seconds":
                self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"})
            elif trouble == "busy, date":
                self._send(429, {"error": "slow down"}, {"Retry-After": formatdate(time.time(), usegmt=True)})
            elif trouble in {"500", "503"}:
                self._send(int(trouble), {"error": {"message": "broken"}})
            elif trouble == "stall":
                self.close_connection = True
                owner.closing.wait(60)
            elif trouble == "drip":
                self._drip()
            elif trouble == "cut":
                data = json.dumps(self._whole(prompt)).encode()
                self._head(200, len(data))
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            elif trouble == "cut headers":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-le")
                self.close_connection = True
            elif trouble == "html":
                self._raw(200, b"<html><body>Welcome</body></html>")
            elif trouble == "other json":
                self._send(200, {"object": "list", "data": []})
            elif trouble == "no content":
                self._send(200, {"choices": [{"message": {"content": 8}}]})
            elif trouble == "error in 200":
                self._send(200, {"error": {"message": "the model is loading"}})
            else:
                self._send(int(trouble), {"error": {"message": owner.words.get(trouble, "no")}})

        def _drip(self):
            """A byte now and then, so that the connection never looks dead."""
            self._head(200, 10_000)
            self.close_connection = True
            while not owner.closing.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()

        def _send(self, status, value, headers=None):
            self._raw(status, json.dumps(value, ensure_ascii=False).encode(), headers)

        def _raw(self, status, data, headers=None):
            self._head(status, len(data), headers)
            self.wfile.write(data)

        def _head(self, status, length, headers=None):
            self.send_response(status)
            for name, value in {"content-length": str(length), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler
