"""Shoppers, items and promos of a run, and the books that must balance."""

import asyncio
import re
import uuid
from datetime import timedelta

from client import LIMITS, LOST, TIME, Missed, Shopper, stamp, until
from promises import check

ENDED = set()  # promos whose unsold stock went back: initial is what is left


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


async def auditor(w, promo, stop, log, paid=lambda: 0, promise="audit.conserved"):
    p = promo["id"]
    while not stop.is_set():
        try:
            a = await w.adm("GET", f"/promos/{p}/audit")
        except LOST:
            await asyncio.sleep(0.2)
            continue
        balanced(a, promo["stock"], promise, ended=p in ENDED)
        a["_paid"] = paid()
        log.append(a)
        try:
            await asyncio.wait_for(stop.wait(), 0.1)
        except asyncio.TimeoutError:
            pass


def balanced(a, stock, promise="audit.conserved", ended=False):
    ok = (a["ok"] is True and (a["initial"] == stock or ended and a["initial"] <= stock)
          and a["initial"] == a["available"] + a["pending"] + a["sold"]
          and min(a["available"], a["pending"], a["sold"], a["holds"]) >= 0)
    check(promise, ok, a)
    check("audit.limit", a["pending"] + a["sold"] <= stock, a)
    return ok


async def ended(w, p):
    return (await w.must("GET", f"/promos/{p}"))["status"] == "ended"


async def login_admin(w):
    a = await w.must("POST", "/sessions", {"email": w.email, "password": w.password})
    w.admin = a["token"]
