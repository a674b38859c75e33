"""For the parts about acting: an agent that sends one result and looks at the clock, and a receiver that can be away."""
import http.client
import json
import socket
import ssl
import threading
import time

WAIT = 30.0  # seconds until what was sent must have come out


def quantile(values, share):
    values = sorted(values)
    return values[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


class Agent:
    """An enrolled osquery agent on a kept connection."""

    def __init__(self, port, ca, secret, serial):
        context = ssl.create_default_context(cafile=str(ca))
        self.link = http.client.HTTPSConnection("localhost", port, context=context, timeout=WAIT)
        self.serial = serial
        details = {"system_info": {"hardware_serial": serial, "uuid": "4C4C4544-0031-4A10-8052-%012d" % (hash(serial) % 10**12), "hostname": serial.lower()},
                   "os_version": {"platform": "ubuntu", "version": "24.04"}}
        self.key = self.post("enroll", {"enroll_secret": secret, "host_identifier": serial, "platform_type": "9", "host_details": details})["node_key"]

    def post(self, what, body):
        self.link.request("POST", "/public/osquery/" + what, json.dumps(body), {"Content-Type": "application/json", "User-Agent": "osquery/5.23.0"})
        return json.loads(self.link.getresponse().read())

    def log(self, columns):
        """Sends one result, again if the hub is busy; when that began that was taken."""
        while True:
            began = time.monotonic()
            line = {"name": "bench_act", "hostIdentifier": self.serial, "unixTime": int(time.time()), "epoch": 0, "counter": 3, "action": "added", "columns": columns}
            try:
                if "error" not in self.post("log", {"node_key": self.key, "log_type": "result", "data": [line]}):
                    return began
                time.sleep(0.05)
            except (OSError, http.client.HTTPException):
                # The hub closes what says nothing for a while; the next request connects again.
                self.link.close()


class Receiver:
    """Takes whatever is posted, while it is there: each body with the time at which the request was read whole."""

    def __init__(self, port, keep=True):
        self.port, self.keep, self.got, self.count, self.listener, self.links = port, keep, [], 0, None, set()
        self.lock = threading.Condition()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def close(self):
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        for link in list(self.links):
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.links.add(link)
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        rest = b""
        try:
            while True:
                head, rest = self.until(link, rest, lambda got: got.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in got else 0)
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                body, rest = self.until(link, rest, lambda got: length if len(got) >= length else 0) if length else (b"", rest)
                with self.lock:
                    self.count += 1
                    if self.keep:
                        self.got.append((time.monotonic(), body))
                    else:
                        self.look(body)
                    self.lock.notify_all()
                link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (OSError, EOFError):
            pass
        finally:
            self.links.discard(link)
            link.close()

    def look(self, body):
        """What is looked at of a body that is not kept."""

    @staticmethod
    def until(link, got, whole):
        while not whole(got):
            more = link.recv(1 << 16)
            if not more:
                raise EOFError
            got += more
        return got[:whole(got)], got[whole(got):]

    def wait(self, done, limit=WAIT):
        """The first of what was kept that `done` chooses."""
        end = time.monotonic() + limit
        at = 0
        with self.lock:
            while True:
                for when, body in self.got[at:]:
                    at += 1
                    if done(body):
                        return when
                if not self.lock.wait(end - time.monotonic()):
                    raise RuntimeError("not told within %d s" % limit)


def delays(agent, receiver, count, pause):
    """Seconds from the agent's POST to the request at the receiver, of results sent one by one."""
    found = []
    for n in range(count):
        mark = "%s-%d-%f" % (agent.serial, n, time.monotonic())
        began = agent.log({"marker": mark})
        found.append(receiver.wait(lambda body: mark.encode() in body) - began)
        with receiver.lock:
            receiver.got.clear()
        time.sleep(pause)
    return found
