"""The end of a process in the middle of its work: by the clock, by SIGTERM, by SIGKILL."""

import asyncio
import time
import uuid

from client import Missed, Sock, World, is_, until
from promises import check, note, trace
from shop import balanced, make_item, make_promo, sign_up


async def brief_server(fleet):
    """Tokens that run out, and a clean stop."""
    server = fleet.another_gateway("brief", ["--token-ttl-ms", "4000"])
    try:
        w = World([await server.start()], "", "")
        await server.ready()
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


async def crash_sale(w, fleet, crowd):
    """All there is of the shop is killed at once in the middle of a sale."""
    crowd, window = crowd[:24], 7 + w.slack
    for sh in crowd:
        sh.accepted = {}
        for s in list(sh.socks):
            await s.close()
    await asyncio.gather(*(sh.connect() for sh in crowd))
    item = await make_item(w, 8000, 15)
    promo = await make_promo(w, item, 4000, 12, 2.0 + w.slack / 5, rate=100, active=12, ttl=60000,
                             window=window * 1000)
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
    await fleet.kill()
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
    await fleet.start()
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
                    await sh.s.wait(is_("state", promo_id=p, number=n), max(0.1, began + 3 + w.slack - time.monotonic()))
                    st = [{"number": n}]
                except Missed:
                    pass
            ordered = sh in unanswered and st and st[0].get("order_id")
            if sh not in promised and not ordered:  # who bought needs no place any more
                check("crash.place", st and st[0].get("number") == n, f"was {n}: {st}")
    for sh, orders in promised.items():
        for oid, rid in orders.items():
            async def settled():
                row = await sh.get(oid)
                return row if row["status"] != "pending" else None
            try:
                row = await until("an outcome", 8 + w.slack, settled)
                check("crash.outcomes", row["status"] == "awaiting_payment", row)
            except Missed as e:
                check("crash.outcomes", False, f"{oid}: {e}")
            st = [s for s in sh.s.welcome["states"] if s["promo_id"] == p]
            st = st or [{}]
            if st[0].get("phase") == "pending":
                await sh.s.wait(is_("outcome", order_id=oid), 8 + w.slack)
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
        deadline = time.monotonic() + 8 + w.slack
        while time.monotonic() < deadline:
            if sh.live(p):
                a = await sh.order(rid=rids.setdefault(sh.id, str(uuid.uuid4())), promo_id=p)
                if a.get("reason") == "not_ready":
                    await asyncio.sleep(0.2)
                    rids.pop(sh.id)
                    continue
                if a["type"] == "accepted":
                    await sh.s.wait(lambda f: f["type"] in ("outcome", "state") and f.get("order_id") == a["order_id"],
                                    8 + w.slack)
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
        await sh.everywhere("crash.expiry", window + 5, promo_id=p, order_id=next(iter(sh.accepted)), status="expired")
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
