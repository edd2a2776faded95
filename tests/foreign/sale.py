#!/usr/bin/env python3
"""An independent client of PanicBuying, written from the wire contract alone.

It runs whole flash sales against a real server and checks every promise of the contract on the way:

    pip install -r requirements.txt
    python sale.py --server PATH_TO_BINARY
    python sale.py --url http://HOST:PORT --admin-email EMAIL --admin-password PASSWORD

With --server it starts the server itself, and also kills and restarts it. Prints every promise with
PASS or FAIL, what the contract leaves open as NOTE, and ends with `N passed, M failed`.
"""

import argparse
import asyncio
import base64
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

STARTED = time.monotonic()
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

PROMISES = {
    "rest.register": "POST /users: 201 and the user; no password comes back",
    "rest.email_taken": "POST /users: 409 email_taken",
    "rest.login": "POST /sessions: 201 {token, expires_at, user}",
    "rest.bad_credentials": "POST /sessions: 401 bad_credentials, the same for an unknown email",
    "rest.same_cost": "POST /sessions: an unknown email costs as much as a wrong password",
    "rest.me": "GET and PATCH /users/me: own profile; 401 without a token or with a bad one",
    "rest.problem": "every REST error is a whole problem+json with its own status",
    "rest.validation": "validation errors carry errors: field -> message",
    "rest.404": "unknown paths and ids: 404", "rest.405": "wrong method: 405",
    "rest.413": "too large a body: 413", "rest.415": "not JSON by its content type: 415",
    "rest.malformed": "malformed JSON: 400",
    "rest.items": "items: create (201), edit, restock; a refused restock changes nothing",
    "rest.promo": "promos: draft 201, publish moves stock out of the item's, the item carries its promo",
    "rest.page": "lists page by limit and after, every row once, next null at the end",
    "rest.admin_only": "admin calls with a shopper's token: 403; with none: 401",
    "rest.foreign_order": "someone else's order: 404 to look at, pay and cancel",
    "rest.probes": "/healthz, /readyz, /metrics and /api/v1/openapi.json answer",
    "rest.types": "ids, times and money have the promised types",
    "ws.subprotocol": "subprotocol panicbuy.v1 is negotiated, no compression",
    "ws.welcome_first": "welcome is the first frame, and names the user (null for a visitor)",
    "ws.shape": "every frame has the promised fields and types",
    "ws.pong": "ping is answered by pong with its nonce; unknown fields are ignored; 4 KiB is allowed",
    "ws.visitor": "a visitor may watch, but neither join nor order",
    "ws.unwatch": "unwatch stops queue and stock frames",
    "ws.nonsense": "nonsense gets error (or refused) and changes nothing",
    "ws.origin": "a foreign Origin is refused with 403",
    "close.1000": "a client's close is answered with a close frame of 1000",
    "close.4000": "no hello in time: 4000", "close.4500": "a bad token: 4500",
    "close.4501.binary": "a binary frame: 4501", "close.4501.size": "a frame over 4 KiB: 4501",
    "close.4501.json": "not JSON: 4501", "close.4501.first": "first frame not hello: 4501",
    "close.4502": "too many sockets of one shopper: 4502",
    "close.4001": "flooding: bye with a delay, then 4001",
    "close.4003": "session token expired: 4003", "close.4004": "silent for two heartbeats: 4004",
    "close.1001": "a stopping server says bye, then 1001; its own exit is clean",
    "ws.heartbeat": "the server pings every heartbeat_ms",
    "lobby.join": "join before opening: phase lobby without number, queue counts the lobby",
    "join.idempotent": "join is idempotent, a second socket gets the same place",
    "state.everywhere": "state goes to every socket of the shopper",
    "lobby.leave": "leave in the lobby: phase none, and no number at opening",
    "seed.hidden": "the seed is not shown before opening, its commitment is",
    "seed.commit": "SHA-256(seed) is the seed_commit published before",
    "number.dense": "numbers 1..N, dense, each once", "number.order": "numbers ascend with the HMAC keys",
    "number.stable": "a number never changes",
    "number.late": "later joiners follow in order of arrival",
    "number.leave": "leave gives the place up: joining again goes to the end",
    "head.grows": "head only grows", "ahead.consistent": "ahead = number - head - 1",
    "admit.order": "passes are given in the order of the numbers",
    "admit.room": "never more passes at once than max_active (queue.active)",
    "stock.version": "stock versions grow", "stock.range": "stock is between 0 and the promo's",
    "order.not_started": "no order before opening: not_started",
    "order.no_pass": "no order without a pass: no_pass (also by item_id, also over REST)",
    "order.pass_expired": "no order after the pass ran out: no_pass",
    "order.left": "no order after leaving with a pass: no_pass",
    "order.pass_sold_out": "nobody with a live pass is told sold_out",
    "order.accepted_first": "accepted comes before outcome on the ordering socket",
    "order.one_outcome": "exactly one outcome per accepted order on every socket of the shopper",
    "order.price": "the outcome has the promo price, and pay_before inside the window",
    "order.repeat": "a repeated request_id gets the same answer, also from another socket and over REST",
    "order.repeat_once": "repeated requests take stock once: one order each",
    "order.limit": "a second order is refused no_pass or limit_reached; the shopper keeps the first",
    "order.limit_many": "per_user_limit 2 sells two to one shopper, and a third never",
    "order.foreign_repeat": "another shopper's request_id is another order",
    "order.echo": "accepted and refused carry the request_id (a UUID, in whatever case)",
    "order.quantity": "more than the limit in one order is not sold",
    "order.race": "two orders at once of one shopper: one is sold",
    "order.by_item": "an order by item_id during the promo gets the promo price",
    "order.rest": "POST /orders: 202 {order_id, status}, and outcome on the sockets",
    "order.reasons": "reasons are of the promised set",
    "order.listed": "GET /orders lists exactly the shopper's own orders",
    "list.price": "an item without promo sells at its list price, without pass",
    "list.scheduled": "an item whose promo is yet to open sells at its list price",
    "list.sold_out": "list price: more than there is: sold_out, nothing taken",
    "pay.paid": "pay inside the window: state paid on all sockets",
    "pay.idempotent": "pay twice: the same answer",
    "pay.expired": "unpaid: state expired after the window, on all sockets",
    "pay.too_late": "pay after expiry is refused, and changes nothing",
    "cancel.cancelled": "cancel: state cancelled on all sockets, idempotent; pay afterwards refused",
    "pay.race": "pay and cancel at once: exactly one of them holds",
    "resale": "units given back or lapsed are sold to the next in line, until all are paid",
    "audit.conserved": "the audit balances at every poll: initial = available + pending + sold, ok",
    "audit.limit": "never more live orders than units",
    "audit.final": "in the end exactly the paid orders are sold, each to another shopper",
    "reconnect": "a reconnect gets place and pass in welcome.states",
    "reconnect.bought": "a reconnect gets its order in welcome.states",
    "admin.pause": "pause: status paused, orders refused paused",
    "admin.resume": "resume: the pass still buys",
    "admin.admission": "PATCH admission: works while the sale runs",
    "admin.end": "end: status ended, orders refused ended",
    "admin.unsold": "unsold stock returns to the item at end",
    "admin.late_return": "a unit cancelled after the end returns to the item",
    "end.by_time": "ends_at ends the promo: orders refused ended, unsold stock returns",
    "admin.idle": "pause, resume and end where they make no sense are 4xx or harmless",
    "crash.outcomes": "kill -9: every accepted order has its outcome afterwards",
    "crash.place": "kill -9: places keep their numbers",
    "crash.repeat": "kill -9: a repeated request_id has the same order_id",
    "crash.expiry": "kill -9: payment windows go on: unpaid orders expire afterwards, and are sold again",
    "crash.conserved": "kill -9: conservation, before and after the rest is sold",
    "crash.no_double": "kill -9: no shopper has two orders, no unit is sold twice",
}
OWN_ONLY = {"close.4003", "close.1001"} | {p for p in PROMISES if p.startswith("crash.")}

seen = Counter()
failures = defaultdict(list)
notes = {}


def check(promise, ok, detail=""):
    assert promise in PROMISES, promise
    seen[promise] += 1
    if not ok:
        failures[promise].append(str(detail)[:400])
    return ok


def note(key, text):
    notes.setdefault(key, str(text)[:400])


def trace(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


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


class World:
    def __init__(self, url, email, password):
        self.email, self.password = email, password
        self.admin = None
        self.skew = timedelta(0)
        self.pool = concurrent.futures.ThreadPoolExecutor(12)
        self.aim(url)

    def aim(self, url):
        parts = urlsplit(url)
        self.url, self.host, self.port = url.rstrip("/"), parts.hostname, parts.port or 80
        self.ws = f"ws://{self.host}:{self.port}/ws"

    def call(self, method, path, body=None, token=None, raw=None, ctype="application/json"):
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
        c = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            try:
                c.request(method, path, body=data, headers=headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent: the answer may be there
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

    async def adm(self, method, path, body=None):
        return await self.must(method, path, body, token=self.admin)

    def server_now(self):
        return now() + self.skew


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
        self.ws = self.task = self.code = self.welcome = None
        self.greeted = False
        self.sent = set()  # request ids of this socket

    async def open(self, hello=True, token="own", expect=True, **kw):
        kw.setdefault("subprotocols", ["panicbuy.v1"])
        kw.setdefault("compression", None)
        self.ws = await connect(self.world.ws, ping_interval=None, open_timeout=15,
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
                check("stock.version", f["version"] > last[0] or
                      (f["version"], f["available"]) == last, f"{last} -> {f}")
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
    def __init__(self, world, email, id_, token):
        self.world, self.email, self.id, self.token = world, email, id_, token
        self.socks, self.passes = [], {}
        self.accepted = {}  # order id -> request id, of this shopper

    @property
    def s(self):
        return self.socks[0]

    def live(self, promo, margin=0.4):
        until_ = self.passes.get(promo)
        return bool(until_) and parse(until_) - self.world.server_now() > timedelta(seconds=margin)

    async def connect(self):
        return await Sock(self.world, self).open()

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
        if rid in sock.sent:
            REPEATED.add(rid)
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
        return await self.world.api("POST", f"/orders/{order_id}/{verb}", token=self.token)

    async def get(self, order_id):
        return await self.world.must("GET", f"/orders/{order_id}", token=self.token)

    async def orders(self):
        out, after = [], None
        while True:
            page = await self.world.must("GET", "/orders?limit=50" + (f"&after={after}" if after else ""),
                                         token=self.token)
            out += page["data"]
            after = page["next"]
            if after is None:
                return out


# ---- Scenarios -------------------------------------------------------------------------------

async def sign_up(w, n, tag):
    gate = asyncio.Semaphore(6)
    run = uuid.uuid4().hex[:8]

    async def one(i):
        async with gate:
            email = f"{tag}{i}-{run}@example.com"
            a = await w.api("POST", "/users", {"email": email, "password": "correct horse", "display_name": f"S {i}"})
            check("rest.register", a.status == 201 and isinstance(a.json.get("id"), int)
                  and a.json.get("email") == email and "password" not in a.raw.decode(), a)
            b = await w.api("POST", "/sessions", {"email": email, "password": "correct horse"})
            check("rest.login", b.status == 201 and {"token", "expires_at", "user"} <= set(b.json)
                  and b.json["user"]["id"] == a.json["id"] and TIME.match(b.json["expires_at"]), b)
            return Shopper(w, email, a.json["id"], b.json["token"])
    return await asyncio.gather(*(one(i) for i in range(n)))


async def make_item(w, price, stock, title="Lamp"):
    a = await w.api("POST", "/items", {"title": title, "description": "d", "image_url": "https://example.com/a.png",
                                       "price_minor": price, "stock": stock}, token=w.admin)
    check("rest.items", a.status == 201 and isinstance(a.json.get("id"), int)
          and a.json.get("price_minor") == price, a)
    return a.json


async def make_promo(w, item, price, stock, opens_s, rate, active, ttl, window, limit=1):
    t = w.server_now() + timedelta(seconds=opens_s)
    a = await w.api("POST", "/promos", {
        "item_id": item["id"], "title": "Sale", "price_minor": price, "stock": stock, "per_user_limit": limit,
        "starts_at": stamp(t), "ends_at": stamp(t + timedelta(hours=1)),
        "admission": {"rate_per_s": rate, "max_active": active, "pass_ttl_ms": ttl},
        "payment_window_ms": window}, token=w.admin)
    check("rest.promo", a.status == 201 and a.json["status"] == "draft", a)
    LIMITS[a.json["id"]] = {"max_active": active, "stock": stock}
    b = await w.api("POST", f"/promos/{a.json['id']}/publish", token=w.admin)
    check("rest.promo", b.status == 200 and b.json.get("id") == a.json["id"] and b.json["available"] == stock
          and b.json["seed_commit"] == a.json["seed_commit"], b)
    check("rest.types", TIME.match(b.json["starts_at"]) and isinstance(b.json["price_minor"], int)
          and re.fullmatch("[A-Z]{3}", b.json.get("currency", "")), b)

    async def less():
        i = await w.must("GET", f"/items/{item['id']}")
        return i if i["stock"] == item["stock"] - stock and i.get("promo") and i["promo"]["id"] == a.json["id"] else None
    try:
        await until("item with its promo", 4, less)
        check("rest.promo", True)
    except Missed as e:
        check("rest.promo", False, e)
    return b.json


async def rest_checks(w, x):
    bad = {"email": x.email, "password": "wrong horse battery"}
    unknown = {"email": "nobody-" + x.email, "password": "wrong horse battery"}
    cost = {}
    for key, body in (("wrong", bad), ("unknown", unknown)):
        cost[key] = []
        for _ in range(3):
            t = time.perf_counter()
            a = await w.api("POST", "/sessions", body)
            cost[key].append(time.perf_counter() - t)
            check("rest.bad_credentials", a.status == 401 and a.code == "bad_credentials", a)
            cost[key + "_body"] = a.json
    check("rest.bad_credentials", cost["wrong_body"] == cost["unknown_body"], cost)
    ratio = min(cost["wrong"]) / min(cost["unknown"])
    check("rest.same_cost", 0.33 < ratio < 3, f"ratio {ratio:.2f}")
    a = await w.api("POST", "/users", {"email": x.email, "password": "correct horse", "display_name": "again"})
    check("rest.email_taken", a.status == 409 and a.code == "email_taken", a)
    a = await w.api("POST", "/users", {"email": x.email.upper(), "password": "correct horse", "display_name": "again"})
    note("email case", f"registering the same email in capitals -> {a.status} {a.code}")

    for body, field in (({"email": "nonsense", "password": "correct horse", "display_name": "n"}, "email"),
                        ({"email": "q@example.com", "password": "x", "display_name": "n"}, "password")):
        a = await w.api("POST", "/users", body)
        check("rest.validation", a.status in (400, 422) and field in (a.json.get("errors") or {})
              and isinstance(a.json["errors"][field], str), a)
        note("validation", f"validation -> {a.status} {a.code}")
    a = await w.api("POST", "/items", {"title": "", "description": "", "image_url": "", "price_minor": -1,
                                       "stock": -1}, token=w.admin)
    check("rest.validation", a.status in (400, 422) and {"price_minor", "stock"} & set(a.json.get("errors") or {}), a)
    note("two bad fields", f"price_minor -1 and stock -1 -> {a.json.get('errors')}")
    a = await w.api("POST", "/users", {"email": "q@example.com"})
    check("rest.validation", a.status in (400, 422), a)
    note("missing field", f"a missing field -> {a}")

    me = await w.api("GET", "/users/me", token=x.token)
    check("rest.me", me.status == 200 and me.json["id"] == x.id, me)
    a = await w.api("PATCH", "/users/me", {"display_name": "Ada L."}, token=x.token)
    b = await w.api("GET", "/users/me", token=x.token)
    check("rest.me", a.status == 200 and b.json["display_name"] == "Ada L.", b)
    for token in (None, "nonsense", x.token[:-4] + "AAAA"):
        a = await w.api("GET", "/users/me", token=token)
        check("rest.me", a.status == 401, a)

    for path in ("/items/999999", "/promos/999999", "/nowhere", "/items/abc"):
        a = await w.api("GET", path)
        check("rest.404", a.status == 404 or (path == "/items/abc" and a.status in (400, 422)), f"{path} {a}")
        if path == "/items/abc":
            note("id not a number", f"GET /items/abc -> {a.status} {a.code}")
    for oid in (uuid.uuid4(), "nonsense", 5):
        for method, verb in (("GET", ""), ("POST", "/pay"), ("POST", "/cancel")):
            a = await w.api(method, f"/orders/{oid}{verb}", token=x.token)
            check("rest.404", a.status == 404 or oid in ("nonsense", 5) and a.status in (400, 422), f"{oid}{verb} {a}")
    for method, path in (("DELETE", "/items"), ("PUT", "/users"), ("GET", "/sessions")):
        a = await w.api(method, path)
        check("rest.405", a.status == 405 and a.headers.get("allow"), f"{method} {path} {a} allow {a.headers.get('allow')}")
    a = await w.api("POST", "/users", raw=b'{"x":"' + b"a" * 3_000_000 + b'"}')
    check("rest.413", a.status == 413, a)
    a = await w.api("POST", "/users", raw=b"{}", ctype="text/plain")
    check("rest.415", a.status == 415, a)
    a = await w.api("POST", "/users", raw=b"{}", ctype=None)
    check("rest.415", a.status in (415, 400), a)
    for raw in (b"{", b"", b'{"email":'):
        a = await w.api("POST", "/users", raw=raw)
        check("rest.malformed", a.status == 400, f"{raw} {a}")
    for path in ("//healthz", "//readyz", "//metrics", "/openapi.json"):
        a = await w.api("GET", path)
        check("rest.probes", a.status == 200, f"{path} {a}")
        if path == "//metrics":
            check("rest.probes", b"# TYPE" in a.raw and a.headers["content-type"].startswith("text/plain"), a)
        if path == "/openapi.json":
            check("rest.probes", str(a.json.get("openapi", "")).startswith("3."), a)

    # items and pages
    mine = [await make_item(w, 100 + i, i) for i in range(5)]
    i = mine[0]["id"]
    a = await w.api("PATCH", f"/items/{i}", {"title": "Renamed", "price_minor": 777}, token=w.admin)
    check("rest.items", a.status == 200 and a.json["title"] == "Renamed" and a.json["price_minor"] == 777, a)
    a = await w.api("POST", f"/items/{i}/stock", {"delta": 5}, token=w.admin)
    check("rest.items", a.status == 200 and a.json.get("stock") == 5, a)
    a = await w.api("POST", f"/items/{i}/stock", {"delta": -2}, token=w.admin)
    check("rest.items", a.status == 200 and a.json.get("stock") == 3, a)
    a = await w.api("POST", f"/items/{i}/stock", {"delta": -4}, token=w.admin)
    check("rest.items", 400 <= a.status < 500, a)

    async def still():
        return (await w.must("GET", f"/items/{i}"))["stock"] == 3
    try:
        check("rest.items", await until("stock 3", 3, still))
    except Missed as e:
        check("rest.items", False, e)
    for path, ids in (("/items", {m["id"] for m in mine}), ("/promos", set())):
        got, after, pages = [], None, 0
        while pages < 500:
            page = await w.must("GET", f"{path}?limit=2" + (f"&after={after}" if after is not None else ""))
            check("rest.page", len(page["data"]) <= 2 and "next" in page, page)
            got += [row["id"] for row in page["data"]]
            pages += 1
            after = page["next"]
            if after is None:
                break
        check("rest.page", len(got) == len(set(got)) and ids <= set(got) and after is None, got)
    for q in ("limit=0", "limit=abc", "limit=-1", "after=%00%ff", "limit=1000000"):
        a = await w.api("GET", "/items?" + q)
        check("rest.page", a.status < 500, f"{q} {a}")
        note("page " + q, f"GET /items?{q} -> {a.status} {a.code}")


async def admin_only(w, x, item, promo):
    p, i = promo["id"], item["id"]
    calls = [("POST", "/items", {"title": "t", "description": "d", "image_url": "https://e.com/a", "price_minor": 1, "stock": 1}),
             ("PATCH", f"/items/{i}", {"title": "t"}), ("POST", f"/items/{i}/stock", {"delta": 1}),
             ("POST", "/promos", {"item_id": i, "title": "t", "price_minor": 1, "stock": 1, "per_user_limit": 1,
                                  "starts_at": stamp(now()), "ends_at": stamp(now() + timedelta(hours=1)),
                                  "admission": {"rate_per_s": 1, "max_active": 1, "pass_ttl_ms": 1000},
                                  "payment_window_ms": 1000}),
             ("PATCH", f"/promos/{p}/admission", {"rate_per_s": 1, "max_active": 1, "pass_ttl_ms": 1000}),
             ("GET", f"/promos/{p}/audit", None)]
    calls += [("POST", f"/promos/{p}/{v}", None) for v in ("publish", "pause", "resume", "end")]
    for method, path, body in calls:
        a = await w.api(method, path, body, token=x.token)
        check("rest.admin_only", a.status == 403, f"{method} {path} {a}")
        a = await w.api(method, path, body)
        check("rest.admin_only", a.status == 401, f"{method} {path} without a token {a}")


async def expect_close(w, promise, code, frames, shopper=None, hello=False, token="own", timeout=8):
    s = await Sock(w, shopper).open(hello=hello, token=token, expect=hello and token == "own")
    for f in frames:
        try:
            await s.send(f)
        except ConnectionClosed:
            break
    got = await s.closed(timeout)
    check(promise, got == code, f"closed with {got}; frames {s.frames[-2:]}")
    note(f"before {code}", f"frames before {promise}: {[f['type'] for f in s.frames]}, "
                           f"close reason {s.ws.close_reason!r}")
    if shopper and s in shopper.socks:
        shopper.socks.remove(s)
    await s.close()
    return s


async def socket_checks(w, x, y, promo):
    p = promo["id"]
    s = await Sock(w).open(compression="deflate")
    check("ws.subprotocol", s.ws.subprotocol == "panicbuy.v1"
          and "Sec-WebSocket-Extensions" not in s.ws.response.headers, s.ws.response.headers)
    for nonce in (7, "abc"):
        try:
            f = await s.ask({"type": "ping", "nonce": nonce, "unknown": [1]},
                            lambda f: f["type"] in ("pong", "error"), 3)
            if nonce == 7:
                check("ws.pong", f.get("nonce") == nonce, f)
            note(f"nonce {nonce!r}", f"ping with nonce {nonce!r} -> {f['type']} {f.get('nonce', f.get('code'))!r}")
        except (Gone, Missed) as e:
            note(f"nonce {nonce!r}", f"ping with nonce {nonce!r} -> {e}")
            s = await Sock(w).open()
    frame = json.dumps({"type": "ping", "nonce": 9, "pad": ""})
    frame = frame.replace('""', '"' + "x" * (4096 - len(frame)) + '"')
    f = await s.ask(frame, is_("pong"), 3)
    check("ws.pong", len(frame) == 4096 and f["nonce"] == 9, f)

    # a visitor may only watch
    q = await s.ask({"type": "watch", "promo_id": p}, is_("queue", promo_id=p))
    k = await s.wait(is_("stock", promo_id=p))
    check("ws.visitor", q and k)
    for frame in ({"type": "join", "promo_id": p}, {"type": "leave", "promo_id": p},
                  {"type": "order", "request_id": str(uuid.uuid4()), "promo_id": p, "quantity": 1}):
        try:
            f = await s.ask(frame, lambda f: f["type"] in ("error", "refused", "state", "accepted"), 3)
            check("ws.visitor", f["type"] in ("error", "refused"), f"{frame} {f}")
            note(f"visitor {frame['type']}", f"a visitor's {frame['type']} -> {f['type']} {f.get('code', f.get('reason'))}")
        except Gone as e:
            note(f"visitor {frame['type']}", f"a visitor's {frame['type']} -> {e}")
            check("ws.visitor", False, f"{frame['type']} closes: {e}")
            s = await Sock(w).open()
    await s.close()

    # nonsense changes nothing
    s = await x.connect()
    before = s.welcome["states"]
    rid = lambda: str(uuid.uuid4())  # noqa: E731
    for frame in ({"type": "nonsense"}, {"kind": "hello"}, {"type": "join"}, {"type": "join", "promo_id": "x"},
                  {"type": "join", "promo_id": 999999}, {"type": "watch", "promo_id": -1}, {"type": 5},
                  {"type": "order", "request_id": rid(), "quantity": 1},
                  {"type": "order", "request_id": rid(), "promo_id": p, "item_id": promo["item_id"], "quantity": 1},
                  {"type": "order", "request_id": rid(), "promo_id": p, "quantity": 0},
                  {"type": "order", "request_id": rid(), "promo_id": p, "quantity": -3},
                  {"type": "order", "request_id": rid(), "promo_id": p, "quantity": 1.5},
                  {"type": "order", "request_id": "not a uuid", "promo_id": p, "quantity": 1},
                  {"type": "order", "request_id": rid(), "promo_id": 999999, "quantity": 1},
                  {"type": "order", "request_id": rid(), "item_id": 999999, "quantity": 1},
                  {"type": "order", "promo_id": p, "quantity": 1},
                  {"type": "hello", "token": x.token}, {"type": "leave", "promo_id": p},
                  {"type": "welcome"}, [1, 2], "text", 5, None):
        text = json.dumps(frame)
        shown = re.sub(r'"token": "[^"]*"', '"token": …', re.sub(r"[0-9a-f-]{36}", "UUID", text))
        try:
            f = await s.ask(text, lambda f: f["type"] in ("error", "refused", "accepted", "state", "welcome"), 2)
            got = f"{f['type']} {f.get('code') or f.get('reason') or f.get('phase')}" + \
                  (f" ref={f['ref']!r}" if f.get("ref") and "UUID" not in shown else "")
            if shown.startswith('{"type": "leave"'):
                check("ws.nonsense", f["type"] == "error" or f.get("phase") == "none", f"{shown} -> {f}")
            else:
                check("ws.nonsense", f["type"] in ("error", "refused"), f"{shown} -> {f}")
        except Missed:
            got = "silence"
            check("ws.nonsense", False, f"{shown}: silence")
        except Gone as e:
            got = str(e)
            ok = not isinstance(frame, dict) or frame.get("type") == "hello"
            check("ws.nonsense", ok and s.code == 4501, f"{shown}: {e}")
            x.socks.remove(s)
            s = await x.connect()
        note("nonsense " + shown, f"{shown} -> {got}")
    check("ws.nonsense", s.welcome["states"] == before, s.welcome)
    check("ws.nonsense", (await x.orders()) == [], "an order came of nonsense")
    await s.close()

    # close codes
    big = json.dumps({"type": "ping", "nonce": 1, "pad": "x" * 5000})

    async def too_many():
        socks = []
        try:
            for _ in range(64):
                s = await Sock(w, y).open(expect=False)
                socks.append(s)
                try:
                    await s.wait(is_("welcome"), 5)
                except Gone:
                    break
            codes = [s.code for s in socks if s.task.done()]
            check("close.4502", codes == [4502], f"{len(socks)} sockets, closed {codes}")
            note("sockets per shopper", f"{len(socks) - 1} sockets of a shopper are fine; the newest is the one closed")
            await socks[0].ask({"type": "ping", "nonce": 1}, is_("pong"), 3)
        finally:
            for s in socks:
                await s.close()

    async def flood():
        s = await Sock(w).open()
        try:
            for _ in range(3000):
                await s.send({"type": "ping", "nonce": 1})
        except ConnectionClosed:
            pass
        code = await s.closed(8)
        last = s.frames[-1] if s.frames else {}
        check("close.4001", code == 4001 and last.get("type") == "bye"
              and isinstance(last.get("reconnect_after_ms"), int), f"{code} {last}")
        note("flood", f"flooding: {len([f for f in s.frames if f['type'] == 'pong'])} pongs, "
                      f"{Counter(f.get('code') for f in s.frames if f['type'] == 'error')} errors, then {last}")

    async def origin():
        try:
            s = await Sock(w).open(hello=False, origin="https://evil.example")
            await s.close()
            check("ws.origin", False, "accepted")
        except InvalidStatus as e:
            check("ws.origin", e.response.status_code == 403, e)
        try:
            s = await Sock(w).open(origin=w.url)
            check("ws.origin", True)
            await s.close()
        except InvalidStatus as e:
            check("ws.origin", False, f"its own origin: {e}")
        for sub in (None, ["other"]):
            try:
                s = await Sock(w).open(subprotocols=sub)
                note(f"subprotocol {sub}", f"subprotocols offered {sub}: taken, chose {s.ws.subprotocol}")
                await s.close()
            except Exception as e:
                note(f"subprotocol {sub}", f"subprotocols offered {sub}: {e!r}")

    await asyncio.gather(
        expect_close(w, "close.4000", 4000, [], timeout=12),
        expect_close(w, "close.4500", 4500, [], hello=True, token="nonsense"),
        expect_close(w, "close.4500", 4500, [], hello=True, token=x.token[:-5] + "AAAAA"),
        expect_close(w, "close.4501.binary", 4501, [b'{"type":"ping","nonce":1}'], hello=True),
        expect_close(w, "close.4501.size", 4501, [big], hello=True),
        expect_close(w, "close.4501.json", 4501, ["{nonsense"], hello=True),
        expect_close(w, "close.4501.first", 4501, [{"type": "ping", "nonce": 1}]),
        expect_close(w, "close.4501.first", 4501, [{"type": "join", "promo_id": p}]),
        too_many(), flood(), origin())


async def mute(w):
    """A raw socket which never answers a ping."""
    reader, writer = await asyncio.open_connection(w.host, w.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write((f"GET /ws HTTP/1.1\r\nHost: {w.host}:{w.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Protocol: panicbuy.v1\r\n\r\n").encode())
    await reader.readuntil(b"\r\n\r\n")
    hello = b'{"type":"hello"}'
    mask = os.urandom(4)
    writer.write(bytes([0x81, 0x80 | len(hello)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(hello)))
    began, heartbeat, pings, code = time.monotonic(), 20.0, [], None
    try:
        while True:
            head = await asyncio.wait_for(reader.readexactly(2), 2.5 * heartbeat + 5)
            size = head[1] & 127
            if size == 126:
                size = struct.unpack(">H", await reader.readexactly(2))[0]
            data = await reader.readexactly(size)
            kind = head[0] & 15
            if kind == 1 and b"welcome" in data:
                heartbeat = json.loads(data)["heartbeat_ms"] / 1000
            elif kind == 9:
                pings.append(time.monotonic() - began)
            elif kind == 8:
                code = struct.unpack(">H", data[:2])[0] if size >= 2 else None
                break
    except (asyncio.TimeoutError, asyncio.IncompleteReadError) as e:
        code = repr(e)
    took = time.monotonic() - began
    writer.close()
    check("ws.heartbeat", pings and 0.5 * heartbeat < pings[0] < 1.6 * heartbeat, f"{heartbeat} {pings}")
    check("close.4004", code == 4004 and 1.5 * heartbeat < took < 3.6 * heartbeat, f"{code} after {took:.1f} s")
    note("silence", f"closed with {code} after {took / heartbeat:.2f} heartbeats of silence, {len(pings)} pings")


async def list_price(w, x, promo, item_of_promo, other):
    item = await make_item(w, 1234, 5, "Plain")
    a = await x.order(item_id=item["id"], quantity=2)
    if check("list.price", a["type"] == "accepted", a):
        o = await x.outcome(a["order_id"])
        check("list.price", o["status"] == "awaiting_payment" and o.get("promo_id") is None, o)
        row = await x.get(a["order_id"])
        note("price of two", f"an order of 2 at 1234: outcome.price_minor {o.get('price_minor')}, order {row}")
        check("list.price", o.get("price_minor") in (1234, 2468), o)
        for verb, who in (("", other), ("/pay", other), ("/cancel", other)):
            method = "POST" if verb else "GET"
            b = await w.api(method, f"/orders/{a['order_id']}{verb}", token=who.token)
            check("rest.foreign_order", b.status == 404, b)
        check("rest.foreign_order", (await x.get(a["order_id"]))["status"] == "awaiting_payment")
        b = await w.api("GET", f"/orders/{a['order_id']}")
        check("rest.foreign_order", b.status == 401, b)
    rid = str(uuid.uuid4())
    b = await x.order(rid=rid, item_id=item["id"], quantity=4)
    final = b if b["type"] == "refused" else await x.outcome(b["order_id"])
    check("list.sold_out", final.get("reason") == "sold_out", final)
    b2 = await x.order(rid=rid, item_id=item["id"], quantity=4)
    check("order.repeat", (b2["type"], b2.get("reason")) == (b["type"], b.get("reason")), f"{b} {b2}")
    c = await x.order(item_id=item["id"], quantity=3)
    if check("list.sold_out", c["type"] == "accepted", c):
        o = await x.outcome(c["order_id"])
        check("list.sold_out", o["status"] == "awaiting_payment", o)
        r = await x.post(c["order_id"], "cancel")
        check("cancel.cancelled", r.status == 200, r)
    # somebody else's request id, its spelling, a repeat that asks for something else
    plain = await make_item(w, 50, 100, "Plenty")
    rid = str(uuid.uuid4())
    a1 = await x.order(rid=rid, item_id=plain["id"])
    a2 = await other.order(rid=rid, item_id=plain["id"])
    check("order.foreign_repeat", a1["type"] == a2["type"] == "accepted" and a1["order_id"] != a2["order_id"], f"{a1} {a2}")
    a3 = await x.order(rid=rid, item_id=plain["id"], quantity=3)
    note("other repeat", f"the same request_id with another quantity -> {a3['type']} {a3.get('reason')}, "
                         f"{'the same' if a3.get('order_id') == a1.get('order_id') else 'another'} order")
    check("order.repeat", a3.get("order_id") == a1["order_id"], f"{a1} {a3}")
    upper = str(uuid.uuid4()).upper()
    try:
        x.s.sent.add(upper)
        f = await x.s.ask({"type": "order", "request_id": upper, "item_id": plain["id"], "quantity": 1},
                          lambda f: f["type"] in ("accepted", "refused", "error"), 3)
        if f["type"] == "accepted":
            x.accepted[f["order_id"]] = upper
        check("order.echo", str(f.get("request_id")).lower() == upper.lower(), f"sent {upper}: {f}")
        note("request_id in capitals", f"sent {upper}, {f['type']} says {f.get('request_id')}")
    except Missed as e:
        check("order.echo", False, e)
    for _ in range(3):
        a = await x.order(item_id=plain["id"])
        await x.outcome(a["order_id"])
        r = await asyncio.gather(x.post(a["order_id"], "pay"), x.post(a["order_id"], "cancel"))
        row = await x.get(a["order_id"])
        check("pay.race", sorted(b.status for b in r) == [200, 409]
              and row["status"] == ("paid" if r[0].status == 200 else "cancelled"), f"{r} {row}")
    for frame in ({"quantity": None}, {}):
        rid = str(uuid.uuid4())
        f = await x.s.ask({"type": "order", "request_id": rid, "item_id": plain["id"], **frame},
                          lambda f: f["type"] in ("accepted", "refused", "error"), 3)
        note(f"order quantity {frame}", f"order with quantity {frame.get('quantity', 'absent')} -> {f['type']} {f.get('reason', f.get('code'))}")
        if f["type"] == "accepted":
            x.accepted[f["order_id"]] = rid
    d = await x.order(item_id=item_of_promo["id"])
    if check("list.scheduled", d["type"] == "accepted", d):
        o = await x.outcome(d["order_id"])
        check("list.scheduled", o.get("price_minor") == item_of_promo["price_minor"] and not o.get("promo_id"), o)
        await x.post(d["order_id"], "pay")
    rows = await x.orders()
    one, after = [], None
    while len(one) < 50:
        page = await w.must("GET", "/orders?limit=1" + (f"&after={after}" if after else ""), token=x.token)
        one += [r["order_id"] for r in page["data"]]
        after = page["next"]
        if after is None:
            break
    check("rest.page", one == [r["order_id"] for r in rows], f"{one} {rows}")
    ids = {r.get("order_id") or r.get("id") for r in rows}
    check("order.listed", ids == set(x.accepted), f"{rows} {x.accepted}")


async def auditor(w, promo, stop, log, paid=lambda: 0):
    p = promo["id"]
    while not stop.is_set():
        try:
            a = await w.adm("GET", f"/promos/{p}/audit")
        except (OSError, http.client.HTTPException):
            await asyncio.sleep(0.2)
            continue
        balanced(a, promo["stock"], ended=p in ENDED)
        a["_paid"] = paid()
        log.append(a)
        try:
            await asyncio.wait_for(stop.wait(), 0.1)
        except asyncio.TimeoutError:
            pass


ENDED = set()  # promos whose unsold stock went back: initial is what is left


def balanced(a, stock, promise="audit.conserved", ended=False):
    ok = (a["ok"] is True and (a["initial"] == stock or ended and a["initial"] <= stock)
          and a["initial"] == a["available"] + a["pending"] + a["sold"]
          and min(a["available"], a["pending"], a["sold"], a["holds"]) >= 0)
    check(promise, ok, a)
    check("audit.limit", a["pending"] + a["sold"] <= stock, a)
    return ok


async def main_sale(w, crowd, extras):
    """120 shoppers, 40 units."""
    x, y, o1, o2 = extras[:4]
    item = await make_item(w, 9900, 60)
    price, window = 4900, 4.0
    await asyncio.gather(*(sh.connect() for sh in crowd))
    doubles = crowd[:12]
    await asyncio.gather(*(sh.connect() for sh in doubles))
    for sh in (o1, o2):
        await sh.connect()
    w.skew = parse(crowd[0].s.welcome["server_time"]) - now() if abs(
        parse(crowd[0].s.welcome["server_time"]) - now()) > timedelta(seconds=30) else timedelta(0)
    visitor, fickle = await Sock(w).open(), await Sock(w).open()
    trace("connected; the sale is published")
    promo = await make_promo(w, item, price, 40, 7.5, rate=20, active=12, ttl=4000, window=int(window * 1000))
    p = promo["id"]
    opening = time.monotonic() + (parse(promo["starts_at"]) - w.server_now()).total_seconds()
    commit = promo["seed_commit"]
    check("seed.hidden", re.fullmatch("[0-9a-f]{64}", commit) and not promo.get("seed"), promo)
    stop, audits = asyncio.Event(), []
    sold = {}  # user -> order id finally paid
    audit_task = asyncio.create_task(auditor(w, promo, stop, audits, lambda: len(sold)))
    for v in (visitor, fickle):
        f = await v.ask({"type": "watch", "promo_id": p}, is_("queue", promo_id=p))
        g = await v.wait(is_("stock", promo_id=p))
        check("ws.visitor", f["head"] == 0 and g["available"] == 40 and f["starts_at"] == promo["starts_at"], f"{f} {g}")

    # the lobby
    early, late = crowd[:100], crowd[100:]
    states = await asyncio.gather(*(sh.join(p) for sh in early))
    for st in states:
        check("lobby.join", st["phase"] == "lobby" and st.get("number") is None, st)
    for sh in doubles:
        second = sh.socks[1]
        f = await second.wait(is_("state", promo_id=p, phase="lobby"))
        check("state.everywhere", f)
        f = await sh.join(p, second)
        check("join.idempotent", f["phase"] == "lobby", f)
    leaver = early[-1]
    await leaver.leave(p)
    rejoiner = early[-2]
    await rejoiner.leave(p)
    f = await rejoiner.join(p)
    check("lobby.leave", f["phase"] == "lobby", f)
    f = await visitor.wait(is_("queue", promo_id=p, lobby=99), 5)
    check("lobby.join", f)
    third = await doubles[0].connect()
    got = [s for s in third.welcome["states"] if s["promo_id"] == p]
    check("reconnect", len(got) == 1 and got[0]["phase"] == "lobby", third.welcome)
    before = await w.must("GET", f"/promos/{p}")
    check("seed.hidden", not before.get("seed") and before["seed_commit"] == commit, before)
    for sh in (early[0], late[0]):
        f = await sh.order(promo_id=p)
        check("order.not_started", f["type"] == "refused" and f["reason"] == "not_started", f)
    f = await w.api("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())}, token=o1.token)
    check("order.not_started", 400 <= f.status < 500 and f.code == "not_started", f)
    note("REST refusal", f"POST /orders refused before opening -> {f.status} {f.code}")
    await list_price(w, o1, promo, item, o2)
    check("seed.hidden", time.monotonic() < opening, "the checks of the lobby were too slow to count")

    # opening
    places = {}

    async def place(sh):
        f = await sh.s.wait(lambda f: f["type"] == "state" and f["promo_id"] == p and f.get("number"), 20)
        check("seed.hidden", f["_at"] > opening - 0.3, f"numbered {opening - f['_at']:.2f} s early")
        places[sh.id] = f["number"]
        for other in sh.socks[1:]:
            g = await other.wait(lambda f: f["type"] == "state" and f["promo_id"] == p and f.get("number"), 5)
            check("join.idempotent", g["number"] == f["number"], f"{f} {g}")
            check("state.everywhere", True)
    numbered = [sh for sh in early if sh is not leaver]
    shopping = []
    done = asyncio.Event()
    passes = []

    async def shop(sh, asked=None):
        if asked is None:
            await place(sh)
        n = places[sh.id]
        role = ROLES.get(n)
        gone = asyncio.create_task(done.wait())
        turn = asyncio.create_task(sh.s.wait(is_("state", promo_id=p, phase="admitted"), 60))
        try:
            await asyncio.wait([turn, gone], return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                return
            f = turn.result()
            passes.append((f["_at"], n))
            check("admit.order", f.get("number") == n and f.get("pass_expires_at"), f)
            await buy(sh, n, role, f)
        except (Missed, Gone) as e:
            check("order.one_outcome", False, f"place {n} ({role}): {e!r}")
        finally:
            gone.cancel()
            turn.cancel()

    ROLES = {1: "limit", 2: "lapse", 3: "cancel", 4: "idle", 5: "reconnect", 6: "rest", 7: "item", 8: "leave",
             9: "two", 10: "twice", 11: "race", 12: "limit", 13: "idle"}
    for n in range(14, 56):
        ROLES[n] = "lapse" if n % 4 == 0 else "cancel" if n % 7 == 0 else "pay"

    async def sold_order(sh, a, live):
        """From `accepted` to its outcome; returns it if it holds a unit."""
        if not check("order.price", a["type"] == "accepted", f"user {sh.id} place {places[sh.id]} with a pass: {a}"):
            return None
        o = await sh.outcome(a["order_id"], price=price, window=window, live=live)
        if o is None or o["status"] == "rejected":
            return None
        check("order.price", o["status"] == "awaiting_payment" and o.get("promo_id") == p, o)
        return o

    async def pay(sh, oid):
        a = await sh.post(oid, "pay")
        check("pay.paid", a.status == 200 and a.json.get("status") == "paid", a)
        await sh.everywhere("pay.paid", promo_id=p, order_id=oid, status="paid")
        b = await sh.post(oid, "pay")
        check("pay.idempotent", (b.status, b.json) == (a.status, a.json), f"{a} {b}")
        sold[sh.id] = oid

    async def buy(sh, n, role, adm):
        live = sh.live(p)
        if role == "idle":
            await sh.s.wait(lambda f: f["type"] == "state" and f["promo_id"] == p and f["phase"] != "admitted"
                            and f["_at"] > adm["_at"], 9)
            st = [f for f in sh.s.frames if f["type"] == "state" and f["promo_id"] == p][-1]
            note("pass ran out", f"state when a pass runs out: {st}")
            check("order.pass_expired", w.server_now() >= parse(adm["pass_expires_at"]) - timedelta(seconds=0.3), st)
            a = await sh.order(promo_id=p)
            check("order.pass_expired", a["type"] == "refused" and a["reason"] == "no_pass", a)
            return
        if role == "leave":
            await sh.leave(p)
            a = await sh.order(promo_id=p)
            check("order.left", a["type"] == "refused" and a["reason"] == "no_pass", a)
            b = await sh.join(p)
            check("number.leave", b["phase"] == "queued" and b["number"] >= 100, f"was {n}: {b}")
            await sh.leave(p)
            return
        if role == "reconnect":
            await sh.s.close()
            s = await sh.connect()
            got = [g for g in s.welcome["states"] if g["promo_id"] == p]
            check("reconnect", len(got) == 1 and got[0]["phase"] == "admitted" and got[0]["number"] == n
                  and got[0].get("pass_expires_at") == adm["pass_expires_at"], f"{adm} -> {got}")
            await s.send({"type": "watch", "promo_id": p})
        if role == "two":
            a = await sh.order(promo_id=p, quantity=2)
            o = a if a["type"] == "refused" else await sh.outcome(a["order_id"])
            note("over the limit at once", f"quantity 2 at limit 1 -> {a['type']} {o.get('reason')}")
            check("order.quantity", o.get("reason") in ("limit_reached", "bad_request"), o)
            if not sh.live(p):
                note("over the limit costs the pass", f"after it: {sh.passes.get(p)}")
        if role == "rest":
            body = {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())}
            r = await w.api("POST", "/orders", body, token=sh.token)
            r2 = await w.api("POST", "/orders", body, token=sh.token)
            check("order.rest", r.status == 202 and r.json["status"] in STATUSES, r)
            check("order.repeat", r2.status == 202 and r2.json["order_id"] == r.json["order_id"], f"{r} {r2}")
            REPEATED.add(body["request_id"])
            ws = await sh.order(rid=body["request_id"], promo_id=p)
            check("order.repeat", ws.get("order_id") == r.json["order_id"], f"{r} {ws}")
            a = {"type": "accepted", "order_id": r.json["order_id"]}
            sh.accepted[a["order_id"]] = body["request_id"]
        elif role == "item":
            a = await sh.order(item_id=promo["item_id"])
        elif role == "twice":
            rid = str(uuid.uuid4())
            s2 = await sh.connect()
            REPEATED.add(rid)
            a, b = await asyncio.gather(sh.order(rid=rid, promo_id=p), sh.order(rid=rid, sock=s2, promo_id=p))
            check("order.repeat", a.get("order_id") == b.get("order_id") is not None, f"{a} {b}")
        elif role == "race":
            a, b = await asyncio.gather(sh.order(promo_id=p), sh.order(promo_id=p))
            ends = [f if f["type"] == "refused" else await sh.outcome(f["order_id"]) for f in (a, b)]
            good = [f for f in ends if f.get("status") == "awaiting_payment"]
            check("order.race", len(good) == 1 and {f.get("reason") for f in ends} & {"limit_reached", "no_pass"}, ends)
            note("race", f"two orders at once: {[(f['type'], f.get('reason')) for f in ends]}")
            a = a if a.get("order_id") == good[0]["order_id"] else b
        else:
            a = await sh.order(promo_id=p)
        o = await sold_order(sh, a, live)
        if o is None:
            return
        oid = a["order_id"]
        if role == "item":
            check("order.by_item", o["price_minor"] == price and o["promo_id"] == p, o)
        if role == "rest":
            check("order.rest", o["status"] == "awaiting_payment", o)
        if role == "limit":
            mark = len(sh.s.frames)
            b = await sh.order(promo_id=p)
            c = b if b["type"] == "refused" else await sh.outcome(b["order_id"])
            note("second order", f"second order after the first -> {b['type']} {c.get('reason')}, then "
                                 f"{[f['type'] for f in sh.s.frames[mark:]]}")
            check("order.limit", c.get("reason") in ("no_pass", "limit_reached"), c)
            j = await sh.join(p)
            note("join after buying", f"join of one who bought all they may -> {j['phase']} {j.get('reason')} {j.get('status')}")
            check("order.limit", j.get("order_id") == oid, f"join after buying: {j}")
            s = await sh.connect()
            got = [g for g in s.welcome["states"] if g["promo_id"] == p]
            check("reconnect.bought", len(got) == 1 and got[0].get("order_id") == oid
                  and got[0]["phase"] == "confirmed" and got[0].get("status") == "awaiting_payment", got)
            check("order.limit", got and got[0].get("order_id") == oid, got)
            await s.close()
            again = await sh.order(rid=sh.accepted[oid], promo_id=p)
            check("order.repeat", again.get("order_id") == oid, again)
            check("order.repeat", again["type"] == "accepted", again)
        row = await sh.get(oid)
        check("order.rest", row["status"] == "awaiting_payment", row)
        if role == "lapse":
            await sh.everywhere("pay.expired", 12, promo_id=p, order_id=oid, status="expired")
            f = await sh.s.wait(is_("state", promo_id=p, order_id=oid, status="expired"), 1)
            early_by = o["_at"] + window - f["_at"]
            check("pay.expired", early_by < 1.0, f"expired {early_by:.2f} s early")
            note("expired state", f"{ {k: v for k, v in f.items() if k != '_at'} }")
            for _ in range(2):
                r = await sh.post(oid, "pay")
                check("pay.too_late", 400 <= r.status < 500, r)
                note("pay too late", f"pay after expiry -> {r.status} {r.code}")
            r = await sh.post(oid, "cancel")
            note("cancel too late", f"cancel after expiry -> {r.status} {r.code or r.json.get('status')}")
            check("pay.too_late", (await sh.get(oid))["status"] == "expired")
            return
        if role == "cancel":
            r = await sh.post(oid, "cancel")
            check("cancel.cancelled", r.status == 200 and r.json.get("status") == "cancelled", r)
            r2 = await sh.post(oid, "cancel")
            check("cancel.cancelled", (r2.status, r2.json) == (r.status, r.json), f"{r} {r2}")
            await sh.everywhere("cancel.cancelled", promo_id=p, order_id=oid, status="cancelled")
            r = await sh.post(oid, "pay")
            check("cancel.cancelled", 400 <= r.status < 500, r)
            note("pay after cancel", f"pay after cancel -> {r.status} {r.code}")
            f = await sh.s.wait(is_("state", promo_id=p, order_id=oid, status="cancelled"), 1)
            note("cancelled state", f"{ {k: v for k, v in f.items() if k != '_at'} }")
            return
        await pay(sh, oid)
        r = await sh.post(oid, "cancel")
        note("cancel after pay", f"cancel after pay -> {r.status} {r.code or r.json}")
        if r.status == 200:
            sold.pop(sh.id)

    shopping = [asyncio.create_task(shop(sh)) for sh in numbered]
    try:
        await until("all numbered", 20, lambda: asyncio.sleep(0, len(places) >= len(numbered)))
    except Missed:
        pass
    trace(f"open: {len(places)} places")
    check("number.dense", sorted(places.values()) == list(range(1, len(numbered) + 1)), sorted(places.values()))
    for f in leaver.s.frames:
        if f["type"] == "state" and f["promo_id"] == p and f.get("number"):
            check("lobby.leave", False, f)
    f = await visitor.wait(lambda f: f["type"] == "queue" and f["promo_id"] == p and f["head"] > 0, 5)
    note("status", f"queue.status when open: {f['status']}")

    # later joiners: before the stock can run out
    last = 99
    for sh in late[:12] + [leaver]:
        f = await sh.join(p)
        last += 1
        check("number.late", f["phase"] in ("queued", "admitted"), f)
        places[sh.id] = f.get("number")
        # the leaver of place 8 joins again in between and takes one number
        ok = f.get("number") in (last, last + 1)
        last = f.get("number") or last
        check("number.late", ok, f"{f} after {last}")
        shopping.append(asyncio.create_task(shop(sh, True)))
    rest = late[12:]
    got = await asyncio.gather(*(sh.join(p) for sh in rest))
    for sh, f in zip(rest, got):
        places[sh.id] = f.get("number")
        shopping.append(asyncio.create_task(shop(sh, True)))
    check("number.late", sorted(f["number"] for f in got)[0] > last, got)
    check("number.late", len({f["number"] for f in got}) == len(rest), got)

    opened = await w.must("GET", f"/promos/{p}")
    seed = bytes.fromhex(opened.get("seed") or "")
    check("seed.commit", len(seed) == 32 and hashlib.sha256(seed).hexdigest() == commit
          and opened["seed_commit"] == commit, opened)

    def key(uid):
        return int.from_bytes(hmac.new(seed, f"{p}:{uid}".encode(), hashlib.sha256).digest()[:8], "big") >> 12
    want = sorted((sh.id for sh in numbered), key=key)
    have = sorted((sh.id for sh in numbered), key=lambda u: places.get(u, 0))
    check("number.order", want == have, f"{want[:5]} != {have[:5]}")

    waiting_one = max(numbered, key=lambda sh: places[sh.id])
    for target in ({"promo_id": p}, {"item_id": promo["item_id"]}):
        f = await o2.order(**target)
        check("order.no_pass", f["type"] == "refused" and f["reason"] == "no_pass", f)
        f = await waiting_one.order(**target)
        check("order.no_pass", f["type"] == "refused" and f["reason"] == "no_pass", f)
    f = await w.api("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())}, token=o2.token)
    check("order.no_pass", f.code == "no_pass" and f.status < 500, f)
    n = places[waiting_one.id]
    shopping.pop(numbered.index(waiting_one)).cancel()
    await waiting_one.s.close()
    s = await waiting_one.connect()
    got = [g for g in s.welcome["states"] if g["promo_id"] == p]
    check("reconnect", got and got[0].get("number") == n, got)
    await s.send({"type": "watch", "promo_id": p})
    shopping.append(asyncio.create_task(shop(waiting_one, True)))

    await fickle.send({"type": "unwatch", "promo_id": p})
    await fickle.ask({"type": "ping", "nonce": 1}, is_("pong"))
    mark = len(fickle.frames)

    # until all is paid
    async def all_paid():
        return audits and audits[-1]["sold"] == 40 and len(sold) == 40
    try:
        await until("40 units paid", 35, all_paid, 0.2)
        check("resale", True)
    except Missed as e:
        check("resale", False, f"{e}; {audits[-1]}; paid here {len(sold)}")
    trace(f"sold: {audits[-1]}")
    done.set()
    results = await asyncio.gather(*shopping, return_exceptions=True)
    for r in results:
        if isinstance(r, Exception) and not isinstance(r, asyncio.CancelledError):
            check("resale", False, f"a shopper's script broke: {r!r}")
    check("resale", max(places[u] for u in sold) > 40, "nothing was sold again")
    check("ws.unwatch", not [f for f in fickle.frames[mark + 4:] if f["type"] in ("queue", "stock")]
          and [f for f in visitor.frames if f["type"] == "queue"][-1]["_at"] > fickle.frames[mark - 1]["_at"],
          fickle.frames[mark:mark + 6])
    check("ws.unwatch", not fickle.frames[mark:], f"just after unwatch and pong: {fickle.frames[mark:]}")
    passes.sort()
    out_of_turn = [(a, b) for (ta, a), (tb, b) in zip(passes, passes[1:]) if a > b and tb - ta > 0.3]
    check("admit.order", not out_of_turn, out_of_turn)
    for sock, q, number, ahead, at in AHEADS:
        if q == p and ahead is not None:
            head = number - ahead - 1
            queue = [f for f in visitor.frames if f["type"] == "queue" and f["promo_id"] == p]
            low = max([f["head"] for f in queue if f["_at"] < at - 0.6] or [0])
            high = min([f["head"] for f in queue if f["_at"] > at + 1.0] or [10 ** 9])
            check("ahead.consistent", low <= head <= high, f"number {number} ahead {ahead}: head {head} not in {low}..{high}")
    leftover = [sh for sh in crowd if sh.id not in sold and not sh.accepted and places.get(sh.id)]
    last_states = Counter()
    for sh in leftover:
        st = [f for f in sh.s.frames if f["type"] == "state" and f["promo_id"] == p]
        if st:
            last_states[(st[-1]["phase"], st[-1].get("reason"))] += 1
    note("sold out for good", f"last states of those who got nothing, everything paid: {dict(last_states)}")
    note("audit's sold", f"most sold at a poll beyond the paid orders: {max((a['sold'] - a['_paid'] for a in audits), default=0)}; "
                         f"most pending {max(a['pending'] for a in audits)}")
    a = await w.adm("GET", f"/promos/{p}/audit")
    balanced(a, 40)
    check("audit.final", a["sold"] == 40 and a["available"] == a["pending"] == 0 and len(sold) == 40
          and len(set(sold.values())) == 40, f"{a} {len(sold)}")

    # the books of every shopper
    paid = 0
    rows = await asyncio.gather(*(sh.orders() for sh in crowd))
    for sh, own in zip(crowd, rows):
        own = [r for r in own if r["status"] != "rejected"]
        ids = [r.get("order_id") or r.get("id") for r in own]
        check("order.repeat_once", len(ids) == len(set(ids)) <= 1, own)
        check("order.listed", set(ids) <= set(sh.accepted), f"{ids} {sh.accepted}")
        paid += sum(r["status"] == "paid" for r in own)
    check("audit.final", paid == 40, f"{paid} paid orders")
    row = await w.must("GET", f"/promos/{p}")
    note("status sold out", f"promo.status when everything is paid: {row['status']}, available {row['available']}")
    mark = {sh: len(sh.s.frames) for sh in leftover}
    ENDED.add(p)
    e = await w.adm("POST", f"/promos/{p}/end")
    check("admin.end", e["status"] == "ended", e)
    f = await o2.order(promo_id=p)
    check("admin.end", f.get("reason") == "ended", f)
    await visitor.wait(is_("queue", promo_id=p, status="ended"), 5)
    if leftover:
        try:
            f = await leftover[0].s.wait(is_("state", promo_id=p), 3, mark[leftover[0]])
            note("state at end", f"a shopper still queued hears at end: phase {f['phase']} reason {f.get('reason')}")
        except Missed:
            note("state at end", "a shopper still queued hears no state at end")
    stop.set()
    await audit_task
    trace("the main sale is over")


async def small_sale(w, extras):
    """Pause, resume, admission and end."""
    a_, b_, c_, d_, e_ = extras[4:9]
    item = await make_item(w, 5000, 30)
    promo = await make_promo(w, item, 2500, 10, 1.5, rate=50, active=1, ttl=60000, window=60000)
    p = promo["id"]
    LIMITS[p]["max_active"] = 10
    for sh in (a_, b_, c_, d_, e_):
        await sh.connect()
    stop, audits = asyncio.Event(), []
    task = asyncio.create_task(auditor(w, promo, stop, audits))
    watcher = await Sock(w).open()
    await watcher.send({"type": "watch", "promo_id": p})
    await watcher.wait(lambda f: f["type"] == "queue" and f["status"] not in ("scheduled", "draft", "published"), 10)
    for i, sh in enumerate((a_, b_, c_, d_, e_), 1):
        f = await sh.join(p)
        f = f if f.get("number") else await sh.s.wait(lambda f: f["type"] == "state" and f.get("number"))
        check("number.late", f["number"] == i, f)
    await a_.s.wait(is_("state", promo_id=p, phase="admitted"))
    f = await b_.order(promo_id=p)
    check("order.no_pass", f.get("reason") == "no_pass", f)
    await e_.leave(p)
    f = await e_.join(p)
    check("number.leave", f.get("number") == 6, f)
    r = await w.api("PATCH", f"/promos/{p}/admission", {"rate_per_s": 40, "max_active": 10, "pass_ttl_ms": 50000}, token=w.admin)
    check("admin.admission", r.status == 200 and r.json.get("admission", {}).get("max_active") == 10, r)
    for sh in (b_, c_, d_, e_):
        try:
            await sh.s.wait(is_("state", promo_id=p, phase="admitted"))
            check("admin.admission", True)
        except Missed as e:
            check("admin.admission", False, e)
    r = await w.api("PATCH", f"/promos/{p}/admission", {"rate_per_s": -4, "max_active": -1, "pass_ttl_ms": 0}, token=w.admin)
    check("rest.validation", r.status in (400, 422) and r.json.get("errors"), r)

    r = await w.api("POST", f"/promos/{p}/resume", token=w.admin)
    check("admin.idle", r.status < 500, r)
    note("resume of an open one", f"resume of an open promo -> {r.status} {r.code or r.json.get('status')}")
    r = await w.api("POST", f"/promos/{p}/pause", token=w.admin)
    check("admin.pause", r.status == 200 and r.json["status"] == "paused", r)
    f = await watcher.wait(is_("queue", promo_id=p, status="paused"), 5)
    check("admin.pause", f)
    rid = str(uuid.uuid4())
    f = await a_.order(rid=rid, promo_id=p)
    check("admin.pause", f.get("reason") == "paused", f)
    note("paused retry", f"refused paused: {f}")
    f = await w.api("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())}, token=b_.token)
    check("admin.pause", f.code == "paused", f)
    f = await a_.order(item_id=item["id"])
    check("admin.pause", f.get("reason") == "paused", f"by item: {f}")
    r = await w.api("POST", f"/promos/{p}/resume", token=w.admin)
    check("admin.resume", r.status == 200, r)
    await watcher.wait(is_("queue", promo_id=p, status=r.json["status"]), 5)
    f = await a_.order(rid=rid, promo_id=p)
    note("repeat of a refusal", f"the request_id refused as paused, after resume -> {f['type']} {f.get('reason')}")
    check("order.repeat", f.get("reason") == "paused", f)
    f = await a_.order(promo_id=p)
    g = await b_.order(item_id=item["id"])
    for sh, x in ((a_, f), (b_, g)):
        if check("admin.resume", x["type"] == "accepted", x):
            await sh.outcome(x["order_id"], price=2500, window=60)
    check("order.by_item", g["type"] == "accepted", g)
    await a_.post(f["order_id"], "pay")
    await a_.everywhere("pay.paid", promo_id=p, order_id=f["order_id"], status="paid")
    ENDED.add(p)
    r = await w.api("POST", f"/promos/{p}/end", token=w.admin)
    check("admin.end", r.status == 200 and r.json["status"] == "ended", r)
    await watcher.wait(is_("queue", promo_id=p, status="ended"), 5)
    x = await c_.order(promo_id=p)
    check("admin.end", x["type"] == "refused" and x["reason"] == "ended", x)
    x = await w.api("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())}, token=d_.token)
    check("admin.end", x.code == "ended", x)
    x = await c_.join(p)
    note("join after end", f"join of an ended promo -> {x['phase']} {x.get('reason')}")
    for verb in ("pause", "resume", "publish", "end"):
        r = await w.api("POST", f"/promos/{p}/{verb}", token=w.admin)
        check("admin.idle", r.status < 500 and (r.status >= 400 or r.json["status"] == "ended"), r)
        note(f"{verb} after end", f"{verb} of an ended promo -> {r.status} {r.code or r.json.get('status')}")

    async def stock_is(n):
        async def probe():
            i = await w.must("GET", f"/items/{item['id']}")
            return i["stock"] == n
        return await until(f"item stock {n}, is {await w.must('GET', '/items/%d' % item['id'])}", 6, probe, 0.2)
    for promise, n in (("admin.unsold", 28), ("admin.late_return", 29)):
        try:
            check(promise, await stock_is(n))
        except Missed as e:
            check(promise, False, f"{e}; audit {audits[-1]}")
        if n == 28:
            r = await b_.post(g["order_id"], "cancel")
            check("admin.late_return", r.status == 200, r)
            await b_.everywhere("cancel.cancelled", promo_id=p, order_id=g["order_id"], status="cancelled")
    y = await c_.order(item_id=item["id"])
    if check("list.price", y["type"] == "accepted", f"after the promo: {y}"):
        o = await c_.outcome(y["order_id"])
        check("list.price", o.get("price_minor") == 5000, o)
    note("audit after end", f"10 units, 1 paid, 1 cancelled after the end: {await w.adm('GET', f'/promos/{p}/audit')}")
    pr = await w.must("GET", f"/promos/{p}")
    note("promo after end", f"stock {pr['stock']} available {pr['available']}")
    stop.set()
    await task
    await watcher.close()


async def timed_sale(w, extras):
    """It ends by its own time; two units for each."""
    a_, b_ = extras[2:4]
    item = await make_item(w, 700, 9)
    t = w.server_now() + timedelta(seconds=1.5)
    body = {"item_id": item["id"], "title": "Short", "price_minor": 600, "stock": 6, "per_user_limit": 2,
            "starts_at": stamp(t), "ends_at": stamp(t + timedelta(seconds=4)),
            "admission": {"rate_per_s": 50, "max_active": 5, "pass_ttl_ms": 30000}, "payment_window_ms": 30000}
    r = await w.api("POST", "/promos", {**body, "ends_at": stamp(t - timedelta(seconds=1))}, token=w.admin)
    check("rest.validation", r.status in (400, 422) and r.json.get("errors"), f"ends before it starts: {r}")
    r = await w.api("POST", "/promos", {**body, "stock": 99}, token=w.admin)
    if r.status == 201:
        r2 = await w.api("POST", f"/promos/{r.json['id']}/publish", token=w.admin)
        check("rest.promo", 400 <= r2.status < 500, f"more than the item has: {r2}")
        note("stock of another", f"a promo of more than the item has: draft {r.status}, publish {r2.status} {r2.code}")
        r3 = await w.api("GET", f"/promos/{r.json['id']}")
        note("draft seen", f"a visitor's GET of a draft -> {r3.status} {r3.code or r3.json['status']}")
        f = await a_.s.ask({"type": "join", "promo_id": r.json["id"]}, lambda f: f["type"] in ("error", "state"), 3)
        note("join of a draft", f"join of a draft -> {f['type']} {f.get('code') or (f.get('phase'), f.get('reason'))}")
    else:
        note("stock of another", f"a promo of more than the item has: {r.status} {r.code}")
    promo = await w.adm("POST", "/promos", body)
    p = promo["id"]
    LIMITS[p] = {"max_active": 5, "stock": 6}
    await w.adm("POST", f"/promos/{p}/publish")
    r = await w.api("POST", f"/promos/{p}/publish", token=w.admin)
    note("publish twice", f"publish twice -> {r.status} {r.code or r.json['status']}")
    await a_.join(p)
    await b_.join(p)
    bought, got = [], []
    for turn in range(3):
        try:
            await a_.s.wait(lambda f: f["type"] == "state" and f["promo_id"] == p and a_.live(p), 3)
        except Missed:
            pass
        f = await a_.order(promo_id=p)
        if f["type"] == "accepted":
            f = await a_.outcome(f["order_id"])
            if f["status"] == "awaiting_payment":
                bought.append(f["order_id"])
                a_.passes[p] = a_.passes.get(p)
        got.append(f.get("status") or f["reason"])
        if turn < 2:
            j = await a_.join(p)
            got.append(f"join: {j['phase']} {j.get('reason', '')}".strip())
            if j["phase"] == "queued":
                await a_.s.wait(is_("state", promo_id=p, phase="admitted", number=j["number"]), 3)
    check("order.limit_many", len(bought) == 2 and got[-1] in ("no_pass", "limit_reached"), got)
    note("limit 2", f"per_user_limit 2, order and join by turns: {got}")
    check("end.by_time", b_.live(p), "no pass")
    q = lambda: until("ended", 8, lambda: ended(w, p))  # noqa: E731
    ENDED.add(p)
    try:
        await q()
        f = await b_.order(promo_id=p)
        check("end.by_time", f.get("reason") == "ended", f)
        left = 9 - len(bought)

        async def back():
            return (await w.must("GET", f"/items/{item['id']}"))["stock"] == left
        check("end.by_time", await until(f"item stock {left}", 5, back))
        st = [f for f in b_.s.frames if f["type"] == "state" and f["promo_id"] == p][-1]
        note("pass at end", f"one with a live pass hears at the end: {st['phase']} {st.get('reason')}")
    except Missed as e:
        check("end.by_time", False, f"{e} {await w.must('GET', '/items/%d' % item['id'])}")
    balanced(await w.adm("GET", f"/promos/{p}/audit"), 6, ended=True)


async def ended(w, p):
    return (await w.must("GET", f"/promos/{p}"))["status"] == "ended"


class Server:
    def __init__(self, binary, folder, db="sale.db", extra=()):
        self.binary, self.folder, self.db, self.extra = binary, folder, db, list(extra)
        self.proc = None

    async def start(self, port=0):
        self.log = open(os.path.join(self.folder, self.db + ".log"), "ab")
        self.proc = subprocess.Popen(
            [self.binary, "serve", "--listen", f"127.0.0.1:{port}", "--database-url",
             "sqlite:" + os.path.join(self.folder, self.db), "--admin-email", "admin@example.com",
             "--admin-password", "an admin's password", *self.extra],
            stdout=subprocess.PIPE, stderr=self.log, cwd=self.folder, text=True)
        line = await asyncio.wait_for(asyncio.to_thread(self._line), 30)
        threading.Thread(target=self.proc.stdout.read, daemon=True).start()
        return line

    def _line(self):
        for line in self.proc.stdout:
            m = re.search(r"listening on (http://\S+)", line)
            if m:
                return m.group(1)
        raise Missed("the server did not start")

    async def kill(self):
        self.proc.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.proc.wait)

    async def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                await asyncio.to_thread(self.proc.wait, 15)
            except subprocess.TimeoutExpired:
                await self.kill()
                return None
        return self.proc.returncode if self.proc else None


async def login_admin(w):
    a = await w.must("POST", "/sessions", {"email": w.email, "password": w.password})
    w.admin = a["token"]


async def brief_server(binary, folder):
    """Tokens that run out, and a clean stop."""
    server = Server(binary, folder, "brief.db", ["--token-ttl-ms", "4000"])
    try:
        w = World(await server.start(), "", "")
        sh = (await sign_up(w, 1, "brief"))[0]
        s = await sh.connect()
        code = await s.closed(15)
        check("close.4003", code == 4003, f"{code} {s.frames[-2:]}")
        note("expired", f"before 4003 came: {[f['type'] for f in s.frames]}")
        v = await Sock(w).open()
        server.proc.terminate()
        code = await v.closed(12)
        bye = v.frames[-1]
        check("close.1001", code == 1001 and bye["type"] == "bye", f"{code} {bye}")
        rc = await asyncio.to_thread(server.proc.wait, 15)
        check("close.1001", rc == 0, f"exit code {rc}")
    finally:
        await server.stop()


AGAIN = []


async def crash_sale(w, server, crowd):
    crowd = crowd[:24]
    for sh in crowd:
        sh.accepted = {}
        for s in list(sh.socks):
            await s.close()
    await asyncio.gather(*(sh.connect() for sh in crowd))
    item = await make_item(w, 8000, 15)
    promo = await make_promo(w, item, 4000, 12, 2.0, rate=100, active=12, ttl=60000, window=7000)
    p = promo["id"]
    await asyncio.gather(*(sh.join(p) for sh in crowd))
    places, rids = {}, {}

    async def shop(sh):
        f = await sh.s.wait(lambda f: f["type"] == "state" and f.get("promo_id") == p and f.get("number"), 15)
        places[sh.id] = f["number"]
        await sh.s.wait(is_("state", promo_id=p, phase="admitted"), 30)
        rid = rids[sh.id] = str(uuid.uuid4())
        await asyncio.sleep(0.02 * (f["number"] - 1))  # spread, that the kill falls between
        await sh.order(rid=rid, promo_id=p)

    tasks = [asyncio.create_task(shop(sh)) for sh in crowd]

    async def some():
        return sum(len(sh.accepted) for sh in crowd) >= 5
    await until("five accepted orders", 20, some, 0.005)
    await server.kill()
    trace("killed")
    for t in tasks:
        t.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for sh in crowd:
        await asyncio.wait([sh.s.task], timeout=5)
        for f in sh.s.frames:  # accepted in the last moment
            if f["type"] == "accepted":
                sh.accepted.setdefault(f["order_id"], f["request_id"])
        sh.socks.clear()
    promised = {sh: dict(sh.accepted) for sh in crowd if sh.accepted}
    unanswered = [sh for sh in crowd if sh.id in rids and not sh.accepted]
    began = time.monotonic()
    await server.start(w.port)

    async def ready():
        return (await w.api("GET", "//readyz")).status == 200
    await until("ready", 20, ready)
    note("restart", f"ready {time.monotonic() - began:.1f} s after the restart; {len(promised)} accepted, "
                    f"{len(unanswered)} sent and unanswered at the kill")
    await asyncio.gather(*(sh.connect() for sh in crowd))
    balanced(await w.adm("GET", f"/promos/{p}/audit"), 12, "crash.conserved")
    for sh in crowd:
        st = [s for s in sh.s.welcome["states"] if s["promo_id"] == p]
        if sh.id in places:
            n = places[sh.id]
            if not st:
                try:
                    await sh.s.wait(is_("state", promo_id=p, number=n), max(0.1, began + 3 - time.monotonic()))
                    st = [{"number": n}]
                except Missed:
                    pass
            if sh not in promised:  # who bought needs no place any more
                check("crash.place", st and st[0].get("number") == n, f"was {n}: {st}")
    for sh, orders in promised.items():
        for oid, rid in orders.items():
            async def settled():
                row = await sh.get(oid)
                return row if row["status"] != "pending" else None
            try:
                row = await until("an outcome", 8, settled)
                check("crash.outcomes", row["status"] == "awaiting_payment", row)
            except Missed as e:
                check("crash.outcomes", False, f"{oid}: {e}")
            st = [s for s in sh.s.welcome["states"] if s["promo_id"] == p]
            st = st or [{}]
            if st[0].get("phase") == "pending":
                await sh.s.wait(is_("outcome", order_id=oid), 8)
            else:
                check("crash.outcomes", st[0].get("order_id") == oid and st[0].get("status") == "awaiting_payment", st)
            again = await sh.order(rid=rid, promo_id=p)
            check("crash.repeat", again.get("order_id") == oid, f"{oid} {again}")

    sh = next(iter(promised))
    a = await sh.post(next(iter(sh.accepted)), "pay")
    check("crash.outcomes", a.status == 200 and a.json.get("status") == "paid", a)

    # sent, and unanswered at the kill: the repeat has the answer
    for sh in unanswered:
        own = [r["order_id"] for r in await sh.orders() if r.get("promo_id") == p and r["status"] != "rejected"]
        a = await sh.order(rid=rids[sh.id], promo_id=p)
        if own:
            check("crash.repeat", a.get("order_id") == own[0], f"{own} {a}")
        if a["type"] == "refused":
            rids.pop(sh.id)

    async def finish(sh):
        if sh.accepted:
            return
        if not sh.live(p):
            j = await sh.join(p)
            AGAIN.append((places.get(sh.id), j.get("number"), j["phase"]))
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            if sh.live(p):
                a = await sh.order(rid=rids.setdefault(sh.id, str(uuid.uuid4())), promo_id=p)
                if a.get("reason") == "not_ready":
                    await asyncio.sleep(0.2)
                    rids.pop(sh.id)
                    continue
                if a["type"] == "accepted":
                    await sh.s.wait(lambda f: f["type"] in ("outcome", "state") and f.get("order_id") == a["order_id"], 8)
                return
            if sum(bool(x.accepted) for x in crowd) >= 12:
                return
            await asyncio.sleep(0.1)
    for sh, r in zip(crowd, await asyncio.gather(*(finish(sh) for sh in crowd), return_exceptions=True)):
        if isinstance(r, Exception):
            check("crash.outcomes", False, f"user {sh.id}: {r!r}")

    async def all_sold():
        a = await w.adm("GET", f"/promos/{p}/audit")
        balanced(a, 12, "crash.conserved")
        return a["pending"] + a["sold"] == 12
    try:
        check("crash.conserved", await until("12 live orders", 8, all_sold))
    except Missed as e:
        check("crash.conserved", False, f"{e} {await w.adm('GET', f'/promos/{p}/audit')}")
    note("places after a crash", f"(number before, number after joining again, phase): {sorted(AGAIN, key=str)}")
    live = []
    for sh, rows in zip(crowd, await asyncio.gather(*(sh.orders() for sh in crowd))):
        own = [r for r in rows if r.get("promo_id") == p]
        ids = {r.get("order_id") or r.get("id") for r in own}
        check("crash.no_double", len([r for r in own if r["status"] != "rejected"]) <= 1, own)
        check("crash.outcomes", set(sh.accepted) <= ids, f"{sh.accepted} {own}")
        live += [r for r in own if r["status"] in ("pending", "awaiting_payment", "paid")]
    check("crash.no_double", len(live) <= 12, f"{len(live)} live orders of 12 units")
    trace("sold after the crash")
    for sh in list(promised)[1:]:
        await sh.everywhere("crash.expiry", 12, promo_id=p, order_id=next(iter(sh.accepted)), status="expired")
    late = [sh for sh in crowd if not sh.accepted]

    async def resold():
        a = await w.adm("GET", f"/promos/{p}/audit")
        balanced(a, 12, "crash.conserved")
        return a["available"] >= len(promised) - 1 or a["holds"]
    try:
        check("crash.expiry", await until("units come back", 5, resold))
        sh = await until("a pass", 8, lambda: asyncio.sleep(0, next((x for x in late if x.live(p)), None)))
        f = await sh.order(promo_id=p)
        if check("crash.expiry", f["type"] == "accepted", f):
            o = await sh.outcome(f["order_id"])
            check("crash.expiry", o["status"] == "awaiting_payment", o)
    except Missed as e:
        check("crash.expiry", False, e)


async def run(args):
    server = folder = None
    background = []
    try:
        if args.server:
            folder = tempfile.TemporaryDirectory(prefix="panicbuy-")
            server = Server(os.path.abspath(args.server), folder.name, extra=["--heartbeat-ms", "5000"])
            w = World(await server.start(), "admin@example.com", "an admin's password")
        else:
            w = World(args.url, args.admin_email, args.admin_password)
        await login_admin(w)
        trace(f"server at {w.url}")
        background.append(asyncio.create_task(mute(w)))
        shoppers = await sign_up(w, 132, "shopper")
        crowd, extras = shoppers[:120], shoppers[120:]
        trace("132 shoppers registered and logged in")

        async def guarded(name, promise, job):
            try:
                await job
            except Exception as e:
                import traceback
                check(promise, False, f"{name} broke off: {e!r} {traceback.format_exc()[-500:]}")
                trace(f"{name} broke off: {e!r}")
        side_item = await make_item(w, 500, 50)
        side = await make_promo(w, side_item, 300, 5, 3600, 10, 5, 10000, 10000)
        await guarded("REST checks", "rest.problem", rest_checks(w, extras[9]))
        await guarded("admin checks", "rest.admin_only", admin_only(w, extras[9], side_item, side))
        trace("REST checked")
        background += [asyncio.create_task(guarded("socket checks", "ws.nonsense",
                                                   socket_checks(w, extras[10], extras[11], side)))]
        if server:
            background.append(asyncio.create_task(guarded("the brief server", "close.4003",
                                                          brief_server(server.binary, folder.name))))
        await asyncio.gather(guarded("the main sale", "resale", main_sale(w, crowd, extras)),
                             guarded("the small sale", "admin.pause", small_sale(w, extras)))
        await guarded("the timed sale", "end.by_time", timed_sale(w, extras))
        await asyncio.gather(*background)
        trace("side checks over")
        if server:
            await guarded("the crash", "crash.outcomes", crash_sale(w, server, crowd))
            trace("crash checked")
    finally:
        if server:
            rc = await server.stop()
            note("stop", f"the server's exit code after SIGTERM: {rc}")
            if failures:
                keep = os.path.join(tempfile.gettempdir(), "panicbuy-foreign.log")
                with open(os.path.join(folder.name, "sale.db.log"), "rb") as src, open(keep, "wb") as dst:
                    dst.write(src.read())
                print("server log:", keep)
        if folder:
            folder.cleanup()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--server", help="start this binary in a temporary folder")
    ap.add_argument("--url", help="use a running server")
    ap.add_argument("--admin-email")
    ap.add_argument("--admin-password")
    args = ap.parse_args()
    if bool(args.server) == bool(args.url) or (args.url and not (args.admin_email and args.admin_password)):
        ap.error("either --server, or --url with --admin-email and --admin-password")
    broke = None
    try:
        asyncio.run(asyncio.wait_for(run(args), 170))
    except Exception as e:  # still print what was seen
        broke = e
    print()
    for key, text in sorted(notes.items()):
        print(f"NOTE {key}: {text}")
    print()
    passed = failed = 0
    for promise, text in PROMISES.items():
        if not args.server and promise in OWN_ONLY:
            print(f"SKIP {promise}: {text} (needs --server)")
            continue
        bad = failures.get(promise)
        if bad or not seen[promise]:
            failed += 1
            print(f"FAIL {promise}: {text}")
            for d in (bad or ["never exercised"])[:4]:
                print(f"     {d}")
            if bad and len(bad) > 4:
                print(f"     … {len(bad)} of {seen[promise]} looks")
        else:
            passed += 1
            print(f"PASS {promise}: {text} ({seen[promise]})")
    if broke:
        failed += 1
        print(f"FAIL the run broke off: {broke!r}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
