"""A client of PanicBuying: REST, sockets and shoppers, over one gateway or several.

Looks at every frame and every answer for what must hold of each. Knows the wire contract, not how servers are started.
"""

import asyncio
import concurrent.futures
import http.client
import itertools
import json
import re
import time
import uuid
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from promises import check, note

STATUSES = {"pending", "awaiting_payment", "paid", "cancelled", "expired", "rejected"}
PHASES = {"none", "lobby", "queued", "admitted", "pending", "confirmed", "rejected"}
REASONS = {"not_ready", "not_started", "paused", "ended", "no_pass", "limit_reached", "sold_out",
           "rate_limited", "bad_request", "unavailable"}
REQUIRED = {
    "welcome": {"session_id", "user_id", "server_time", "heartbeat_ms", "states"},
    "state": {"promo_id", "phase"},
    "queue": {"promo_id", "status", "starts_at", "lobby", "head", "waiting", "active", "rate_per_s"},
    "stock": {"promo_id", "available", "version"},
    "accepted": {"request_id", "order_id"},
    "refused": {"request_id", "reason"},
    "outcome": {"order_id", "status"},
    "error": {"code", "message", "temporary"},
    "bye": {"reason", "reconnect_after_ms"},
    "pong": {"nonce"},
}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def now():
    return datetime.now(timezone.utc)


def stamp(t):
    return t.strftime("%Y-%m-%dT%H:%M:%S.") + f"{t.microsecond // 1000:03d}Z"


def parse(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


class Missed(Exception):
    pass


class Gone(Exception):
    """The socket was closed while a frame was awaited."""

# A gateway that is not there, or no longer: what a client meets with by trying again.
LOST = (Gone, ConnectionClosed, InvalidHandshake, OSError, http.client.HTTPException)


# ---- REST ------------------------------------------------------------------------------------

class Answer:
    def __init__(self, status, headers, raw):
        self.status, self.headers, self.raw = status, headers, raw
        try:
            self.json = json.loads(raw)
        except ValueError:
            self.json = None

    @property
    def code(self):
        return self.json.get("code") if isinstance(self.json, dict) else None

    def __repr__(self):
        return f"{self.status} {self.raw[:300]!r}"


class Gateway:
    def __init__(self, url):
        parts = urlsplit(url)
        self.url, self.host, self.port = url.rstrip("/"), parts.hostname, parts.port or 80
        self.ws = f"ws://{self.host}:{self.port}/ws"
        self.up = True  # nothing is asked of one that is down


class World:
    """The gateways of one shop. What names no gateway goes to all of them in turn.

    `slack` is how many seconds longer what servers do behind a gateway may take than in a single process.
    """

    def __init__(self, urls, email, password, slack=0):
        self.gateways = [Gateway(url) for url in urls]
        self.email, self.password, self.slack = email, password, slack
        self.admin = None
        self.skew = timedelta(0)
        self.pool = concurrent.futures.ThreadPoolExecutor(12)
        self.turns = itertools.count()

    def gateway(self, turn):
        up = [g for g in self.gateways if g.up]
        chosen = self.gateways[turn % len(self.gateways)]
        return chosen if chosen.up or not up else up[turn % len(up)]

    def pick(self):
        return self.gateway(next(self.turns))

    def other(self, gateway):
        return self.gateway(self.gateways.index(gateway) + 1)

    def call(self, method, path, body=None, token=None, raw=None, ctype="application/json", gateway=None):
        gateway = gateway or self.pick()
        if path.startswith("/") and not path.startswith("//"):
            path = "/api/v1" + path
        else:
            path = path[1:]
        headers = {}
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None and ctype:
            headers["Content-Type"] = ctype
        if token:
            headers["Authorization"] = "Bearer " + token
        c = http.client.HTTPConnection(gateway.host, gateway.port, timeout=20)
        try:
            try:
                c.request(method, path, body=data, headers=headers)
            except (BrokenPipeError, ConnectionResetError):
                if c.sock is None:
                    raise  # the gateway died before there was a connection
                # Refused before it was all sent: the answer may be there.
            r = c.getresponse()
            a = Answer(r.status, r.headers, r.read())
        finally:
            c.close()
        if a.status >= 400:
            j = a.json
            ok = (a.headers.get("content-type", "").startswith("application/problem+json")
                  and isinstance(j, dict) and {"type", "title", "status", "detail", "code"} <= set(j)
                  and j["status"] == a.status and re.fullmatch(r"[a-z0-9_]+", str(j["code"])))
            check("rest.problem", ok, f"{method} {path} -> {a} {a.headers.get('content-type')}")
        return a

    async def api(self, *args, **kwargs):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, lambda: self.call(*args, **kwargs))

    async def must(self, *args, **kwargs):
        a = await self.api(*args, **kwargs)
        if a.status >= 300:
            raise Missed(f"{args[:2]} -> {a}")
        return a.json

    async def adm(self, method, path, body=None, gateway=None):
        return await self.must(method, path, body, token=self.admin, gateway=gateway)

    def server_now(self):
        return now() + self.skew

    def server_time(self, frame):
        """When a frame was heard, by the server's clock."""
        return self.server_now() - timedelta(seconds=time.monotonic() - frame["_at"])


async def until(what, timeout, probe, every=0.1):
    """Polls until `probe` gives something true."""
    end = time.monotonic() + timeout
    while True:
        got = await probe()
        if got:
            return got
        if time.monotonic() > end:
            raise Missed(f"not within {timeout} s: {what}")
        await asyncio.sleep(every)


# ---- WebSocket -------------------------------------------------------------------------------

def is_(kind, **fields):
    return lambda f: f.get("type") == kind and all(f.get(k) == v for k, v in fields.items())


class Sock:
    def __init__(self, world, shopper=None):
        self.world, self.shopper = world, shopper
        self.frames, self.waiters = [], []
        self.numbers, self.heads, self.versions = {}, {}, {}
        self.gateway = self.ws = self.task = self.code = self.welcome = None
        self.greeted = False
        self.sent = set()  # request ids of this socket

    async def open(self, hello=True, token="own", expect=True, gateway=None, **kw):
        self.gateway = gateway or (self.shopper.next_gateway() if self.shopper else self.world.pick())
        kw.setdefault("subprotocols", ["panicbuy.v1"])
        kw.setdefault("compression", None)
        self.ws = await connect(self.gateway.ws, ping_interval=None, open_timeout=15,
                                close_timeout=3, max_queue=None, **kw)
        self.task = asyncio.create_task(self._read())
        if hello:
            frame = {"type": "hello"}
            if token == "own":
                token = self.shopper.token if self.shopper else None
            if token:
                frame["token"] = token
            self.greeted = True
            await self.send(frame)
            if expect:
                self.welcome = await self.wait(is_("welcome"), 15)
                if self.shopper:
                    self.shopper.socks.append(self)
        return self

    async def send(self, frame):
        await self.ws.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))

    async def _read(self):
        try:
            async for text in self.ws:
                frame = json.loads(text)
                frame["_at"] = time.monotonic()
                self._look(frame)
                self.frames.append(frame)
                for w in list(self.waiters):
                    if w[0](frame) and not w[1].done():
                        w[1].set_result(frame)
        except ConnectionClosed:
            pass
        self.code = self.ws.close_code
        for _, fut in self.waiters:
            if not fut.done():
                fut.set_exception(Gone(f"closed with {self.code}"))

    async def wait(self, pred, timeout=8, since=0):
        for f in self.frames[since:]:
            if pred(f):
                return f
        if self.task.done():
            raise Gone(f"closed with {self.code}")
        fut = asyncio.get_running_loop().create_future()
        entry = (pred, fut)
        self.waiters.append(entry)
        try:
            return await asyncio.wait_for(fut, timeout)
        except asyncio.TimeoutError:
            raise Missed(f"no such frame within {timeout} s; last: {self.frames[-3:]}") from None
        finally:
            self.waiters.remove(entry)

    async def ask(self, frame, pred, timeout=8):
        mark = len(self.frames)
        await self.send(frame)
        return await self.wait(pred, timeout, mark)

    async def closed(self, timeout=8):
        done, _ = await asyncio.wait([self.task], timeout=timeout)
        return self.code if done else None

    async def close(self):
        if self.shopper and self in self.shopper.socks:
            self.shopper.socks.remove(self)
        open_ = not self.task.done()
        await self.ws.close()
        await self.task
        if open_:
            check("close.1000", self.ws.close_code == 1000, f"closed with {self.ws.close_code}, no close frame came back")

    def _look(self, f):
        """What must hold for every frame on every socket."""
        kind = f.get("type")
        if not check("ws.shape", kind in REQUIRED and REQUIRED[kind] <= set(f), f):
            return
        if not self.frames:
            who = self.shopper.id if self.shopper else None
            if self.greeted and kind not in ("bye", "error"):
                check("ws.welcome_first", kind == "welcome" and f["user_id"] == who, f)
        for k in ("server_time", "starts_at", "pass_expires_at", "pay_before"):
            if f.get(k) is not None:
                check("ws.shape", isinstance(f[k], str) and TIME.match(f[k]), f)
        if kind == "welcome":
            if self.shopper:
                self.shopper.passes.clear()  # states is everything there is
            for s in f["states"]:
                self._state(s)
        elif kind == "state":
            self._state(f)
        elif kind == "queue":
            p = f["promo_id"]
            check("head.grows", f["head"] >= self.heads.get(p, 0), f"{self.heads.get(p)} -> {f}")
            self.heads[p] = f["head"]
            check("ws.shape", all(isinstance(f[k], int) and f[k] >= 0
                                  for k in ("lobby", "head", "waiting", "active")), f)
            if p in LIMITS:
                check("admit.room", f["active"] <= LIMITS[p]["max_active"], f)
        elif kind == "stock":
            p = f["promo_id"]
            last = self.versions.get(p)
            if last is not None:
                check("stock.version", f["version"] > last[0] or (f["version"], f["available"]) == last,
                      f"{last} -> {f} on {self.gateway.url} after {[x['type'] for x in self.frames[-4:]]}")
            self.versions[p] = (f["version"], f["available"])
            if p in LIMITS:
                check("stock.range", 0 <= f["available"] <= LIMITS[p]["stock"], f)
        elif kind == "refused":
            check("order.reasons", f["reason"] in REASONS, f)
        elif kind == "error":
            check("ws.shape", isinstance(f["temporary"], bool) and isinstance(f["message"], str), f)
        elif kind == "outcome":
            check("ws.shape", f["status"] in STATUSES - {"pending"}, f)
            if f["status"] == "rejected":
                check("order.reasons", f.get("reason") in REASONS, f)
            before = [x for x in self.frames if x["type"] == "outcome" and x["order_id"] == f["order_id"]]
            check("order.one_outcome", not before, f"twice on one socket: {before} {f}")
        elif kind == "accepted":
            check("rest.types", uuid.UUID(f["order_id"]).version == 7, f)
            if f["request_id"] in self.sent and f["request_id"] not in REPEATED:
                early = [x for x in self.frames if x["type"] == "outcome" and x["order_id"] == f["order_id"]]
                check("order.accepted_first", not early, f"outcome first: {early} {f}")

    def _state(self, s):
        if not check("ws.shape", s.get("phase") in PHASES and isinstance(s.get("promo_id"), int)
                     and s.get("status", None) in STATUSES | {None}, s):
            return
        p, number = s["promo_id"], s.get("number")
        if s["phase"] == "none" or number is None and s["phase"] in ("confirmed", "rejected"):
            self.numbers.pop(p, None)  # the place is given up, or spent
        elif number is not None:
            was = self.numbers.setdefault(p, number)
            check("number.stable", was == number, f"user {self.shopper.id}: {was} -> {s}")
        if s["phase"] == "admitted" and s.get("ahead") is not None:
            note("ahead when admitted", f"a state of phase admitted carries ahead {s['ahead']}")
        if s["phase"] == "queued" and number is not None and s.get("ahead") is not None:
            AHEADS.append((self, p, number, s["ahead"], time.monotonic()))
            check("ahead.consistent", s["ahead"] == max(0, s["ahead"]), s)
        if self.shopper:
            if s["phase"] == "rejected" and s.get("reason") == "sold_out":
                check("order.pass_sold_out", not self.shopper.live(p), f"user {self.shopper.id}: {s}")
            self.shopper.passes[p] = s.get("pass_expires_at") if s["phase"] == "admitted" else None


LIMITS = {}  # promo id -> {max_active, stock}
REPEATED = set()
AHEADS = []


class Shopper:
    """Each socket is opened at another gateway than the one before, and each REST call goes to another, too.

    The first call goes where the first socket is not.
    """

    def __init__(self, world, email, id_, token):
        self.world, self.email, self.id, self.token = world, email, id_, token
        self.opened, self.called = itertools.count(id_), itertools.count(id_ + 1)
        self.socks, self.passes = [], {}
        self.accepted = {}  # order id -> request id, of this shopper
        self.asked = set()  # request ids, on whichever socket

    @property
    def s(self):
        return self.socks[0]

    def live(self, promo, margin=0.4):
        until_ = self.passes.get(promo)
        return bool(until_) and parse(until_) - self.world.server_now() > timedelta(seconds=margin)

    def next_gateway(self):
        return self.world.gateway(next(self.opened))

    async def connect(self):
        return await Sock(self.world, self).open()

    async def call(self, method, path, body=None, gateway=None):
        gateway = gateway or self.world.gateway(next(self.called))
        return await self.world.api(method, path, body, token=self.token, gateway=gateway)

    async def must(self, method, path):
        a = await self.call(method, path)
        if a.status >= 300:
            raise Missed(f"{method} {path} -> {a}")
        return a.json

    async def join(self, promo, sock=None, timeout=8):
        return await (sock or self.s).ask({"type": "join", "promo_id": promo},
                                          is_("state", promo_id=promo), timeout)

    async def leave(self, promo, sock=None):
        return await (sock or self.s).ask({"type": "leave", "promo_id": promo},
                                          is_("state", promo_id=promo, phase="none"))

    async def order(self, rid=None, sock=None, quantity=1, **target):
        sock = sock or self.s
        rid = rid or str(uuid.uuid4())
        promo = target.get("promo_id")
        live = promo is not None and quantity == 1 and self.live(promo)
        if rid in self.asked:
            REPEATED.add(rid)
        self.asked.add(rid)
        sock.sent.add(rid)
        a = await sock.ask({"type": "order", "request_id": rid, "quantity": quantity, **target},
                           lambda f: f["type"] in ("accepted", "refused") and f["request_id"] == rid
                           or f["type"] == "error" and f.get("ref") == rid)
        if live:
            check("order.pass_sold_out", a.get("reason") != "sold_out", f"user {self.id}: {a}")
        if a["type"] == "accepted":
            self.accepted.setdefault(a["order_id"], rid)
        return a

    async def outcome(self, order_id, timeout=10, price=None, window=None, live=False):
        first = None
        for sock in list(self.socks):
            try:
                f = await sock.wait(is_("outcome", order_id=order_id), timeout)
            except Missed as e:
                check("order.one_outcome", False, f"user {self.id} order {order_id}: {e}")
                continue
            check("order.one_outcome", True)
            first = first or f
            check("order.one_outcome", f["status"] == first["status"], f"differ: {f} {first}")
        if first and first["status"] == "rejected" and live:
            check("order.pass_sold_out", first.get("reason") != "sold_out", f"user {self.id}: {first}")
        if first and first["status"] != "rejected" and price is not None:
            left = parse(first["pay_before"]) - self.world.server_now() if first.get("pay_before") else None
            check("order.price", first.get("price_minor") == price and left is not None
                  and timedelta(seconds=-3) < left <= timedelta(seconds=window + 0.5), f"{first} left {left}")
        return first

    async def everywhere(self, promise, timeout=8, **fields):
        """The state arrives on every socket of the shopper."""
        for sock in list(self.socks):
            try:
                await sock.wait(is_("state", **fields), timeout)
                check(promise, True)
                check("state.everywhere", True)
            except Missed as e:
                check(promise, False, f"user {self.id} {fields}: {e}")
                if sock is not self.s:
                    check("state.everywhere", False, f"user {self.id} {fields}: {e}")

    async def post(self, order_id, verb):
        return await self.call("POST", f"/orders/{order_id}/{verb}")

    async def get(self, order_id):
        return await self.must("GET", f"/orders/{order_id}")

    async def orders(self):
        out, after = [], None
        while True:
            page = await self.must("GET", "/orders?limit=50" + (f"&after={after}" if after else ""))
            out += page["data"]
            after = page["next"]
            if after is None:
                return out
