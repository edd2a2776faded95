"""Whole sales: a crowd's, a paused and resumed one, one that ends by its time."""

import asyncio
import hashlib
import hmac
import re
import time
import uuid
from collections import Counter
from datetime import timedelta

from client import AHEADS, LIMITS, REPEATED, STATUSES, Gone, Missed, Sock, is_, now, parse, stamp, until
from promises import check, note, trace
from shop import ENDED, auditor, balanced, ended, make_item, make_promo


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
            b = await who.call(method, f"/orders/{a['order_id']}{verb}")
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
        page = await x.must("GET", "/orders?limit=1" + (f"&after={after}" if after else ""))
        one += [r["order_id"] for r in page["data"]]
        after = page["next"]
        if after is None:
            break
    check("rest.page", one == [r["order_id"] for r in rows], f"{one} {rows}")
    ids = {r.get("order_id") or r.get("id") for r in rows}
    check("order.listed", ids == set(x.accepted), f"{rows} {x.accepted}")


async def main_sale(w, crowd, extras):
    """120 shoppers, 40 units."""
    x, y, o1, o2 = extras[:4]
    item = await make_item(w, 9900, 60)
    price, window, ttl = 4900, 4 + w.slack / 3, 4 + w.slack / 3
    await asyncio.gather(*(sh.connect() for sh in crowd))
    doubles = crowd[:12]
    await asyncio.gather(*(sh.connect() for sh in doubles))
    for sh in (o1, o2):
        await sh.connect()
    w.skew = parse(crowd[0].s.welcome["server_time"]) - now() if abs(
        parse(crowd[0].s.welcome["server_time"]) - now()) > timedelta(seconds=30) else timedelta(0)
    visitor, fickle = await Sock(w).open(), await Sock(w).open()
    trace("connected; the sale is published")
    promo = await make_promo(w, item, price, 40, 7.5 + w.slack / 2, rate=20, active=12,
                             ttl=int(ttl * 1000), window=int(window * 1000))
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
    f = await o1.call("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())})
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
            passes.append((n, f["pass_expires_at"]))
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
        if not check("order.price", a["type"] == "accepted", f"user {sh.id} place {places[sh.id]} with a pass "
                     f"(live {live}, {sh.passes.get(p)}) at {stamp(w.server_now())}: {a}"):
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
                            and f["_at"] > adm["_at"], ttl + 5)
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
            r = await sh.call("POST", "/orders", body, w.other(sh.s.gateway))
            r2 = await sh.call("POST", "/orders", body, sh.s.gateway)
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
            await sh.everywhere("pay.expired", window + 8, promo_id=p, order_id=oid, status="expired")
            f = await sh.s.wait(is_("state", promo_id=p, order_id=oid, status="expired"), 1)
            check("pay.expired", w.server_time(f) >= parse(o["pay_before"]) - timedelta(seconds=0.3),
                  f"expired at {stamp(w.server_time(f))}: {o}")
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
    f = await o2.call("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())})
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
        await until("40 units paid", 35 + 3 * w.slack, all_paid, 0.2)
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
    out_of_turn = [(a, b) for a, b in zip(passes, passes[1:]) if a[1] > b[1]]
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
    for gateway in w.gateways:
        a = await w.adm("GET", f"/promos/{p}/audit", gateway=gateway)
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
    f = await b_.call("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())})
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
    x = await d_.call("POST", "/orders", {"promo_id": p, "quantity": 1, "request_id": str(uuid.uuid4())})
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
