"""What the contract says of single calls and single sockets."""

import asyncio
import base64
import json
import os
import re
import struct
import time
import uuid
from collections import Counter
from datetime import timedelta

from websockets.exceptions import ConnectionClosed, InvalidStatus

from client import Gone, Missed, Sock, is_, now, stamp, until
from promises import check, note
from shop import make_item


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
            gateway = w.pick()
            s = await Sock(w).open(gateway=gateway, origin=gateway.url)
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


async def mute(gateway):
    """A raw socket which never answers a ping."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write((f"GET /ws HTTP/1.1\r\nHost: {gateway.host}:{gateway.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
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
