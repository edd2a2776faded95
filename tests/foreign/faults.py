"""Sales on a cluster whose gateways and writers die, or are replaced, one after the other.

The shoppers are good clients: they come back on another gateway, and repeat what was not answered.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter

from client import LOST, REPEATED, Missed, is_, until
from promises import check, note, trace
from shop import auditor, balanced, make_item, make_promo

OVER = ("paid", "cancelled", "expired")
STEP = 6  # orders of each kind that get their outcome before a process goes, and while it is away


class Sale:
    """One sale, everything that was promised in it, and everything that was heard."""

    def __init__(self, w, fault, stock):
        self.w, self.fault, self.stock = w, fault, stock
        self.price, self.window = 2000, 15
        self.promo = None
        self.numbers = {}  # shopper id -> the number of their place
        self.request, self.order = {}, {}  # shopper id -> request id, order id
        self.ended = {}  # order id -> the status it ended with
        self.sockets = {}  # shopper -> every socket they ever had
        self.settled = self.listed = 0  # orders that got their outcome: in this sale, at list price
        self.waits = []  # seconds from `accepted` to its outcome
        self.over = asyncio.Event()

    def check(self, promise, ok, detail=""):
        return check(f"{self.fault}.{promise}", ok, detail)

    def paid(self):
        return sum(status == "paid" for status in self.ended.values())

    async def progress(self):
        """Waits until some more orders of each kind have their outcome; returns the seconds, None if they have not."""
        settled, listed, began = self.settled + STEP, self.listed + STEP, time.monotonic()
        try:
            await until("outcomes", 20 + self.w.slack,
                        lambda: asyncio.sleep(0, self.settled >= settled and self.listed >= listed))
            return time.monotonic() - began
        except Missed:
            return None


async def sale_under_faults(w, fault, stock, crowd, break_):
    """A crowd buys `stock` units and some at list price, while `break_` does its work."""
    sale, began = Sale(w, fault, stock), time.monotonic()
    buyers, regulars = crowd[:stock * 4 // 3 + 3], crowd[-4:]
    for sh in crowd:
        sh.accepted = {}
        for s in list(sh.socks):
            await s.close()
    item = await make_item(w, 3000, stock)
    plain = await make_item(w, 100, 2000, "Always there")
    sale.promo = await make_promo(w, item, sale.price, stock, 3 + w.slack / 5, rate=2, active=12, ttl=60000,
                                  window=sale.window * 1000)
    stop, audits, bought = asyncio.Event(), [], []
    work = [asyncio.create_task(buyer(sale, sh)) for sh in buyers]
    loads = [asyncio.create_task(regular(sale, sh, plain, stop, bought)) for sh in regulars]
    audit = asyncio.create_task(auditor(w, sale.promo, stop, audits, sale.paid, f"{fault}.conserved"))
    try:
        await break_(sale)
        trace(f"{fault}: {sale.settled} outcomes of {stock} by now")
        await until(f"{stock} paid units", 60 + w.slack, lambda: asyncio.sleep(0, sale.paid() == stock))
    except Missed as e:
        sale.check("no_double", False, f"{e}: paid {sale.paid()}; {audits[-1:]}")
    sale.over.set()
    stop.set()
    for sh, result in zip(buyers + regulars, await asyncio.gather(*work, *loads, return_exceptions=True)):
        if isinstance(result, BaseException):
            sale.check("one_outcome", False, f"the script of user {sh.id} broke: {result!r}")
    await audit
    await heard(sale)
    await books(sale, buyers, plain, bought)
    note(fault, f"{time.monotonic() - began:.0f} s, {sale.settled} outcomes and {sale.listed} at list price, "
                f"the slowest after {max(sale.waits, default=0):.1f} s; {len(audits)} audits")
    trace(f"{fault}: over")


# ---- Shoppers --------------------------------------------------------------------------------

async def buyer(sale, sh):
    """Gets a place, buys, and pays, cancels or lets it lapse, whatever happens to the gateways."""
    while not sale.over.is_set():
        try:
            await socket(sale, sh)
            if sh.id not in sale.order and not await ordered(sale, sh):
                continue
            status = await outcome(sale, sh)
            if status:
                await close_order(sale, sh, status)
                return
        except LOST:
            await asyncio.sleep(0.1)


async def socket(sale, sh):
    """A socket that lives; a new one, on the next gateway, if there is none."""
    gone = [s for s in sh.socks if s.task.done()]
    sh.socks = [s for s in sh.socks if s not in gone]
    if sh.socks:
        return
    if gone and gone[-1].frames and gone[-1].frames[-1]["type"] == "bye":
        await asyncio.sleep(gone[-1].frames[-1]["reconnect_after_ms"] / 1000)
    first = sh not in sale.sockets
    for _ in range(2 if first and sh.id % 3 == 0 else 1):  # some have a second tab, on the other gateway
        sale.sockets.setdefault(sh, []).append(await sh.connect())
    state = standing(sale, sh)
    if sh.id in sale.numbers and sh.id not in sale.request:
        sale.check("place", state.get("number") == sale.numbers[sh.id],
                   f"user {sh.id} had {sale.numbers[sh.id]}, on {sh.s.gateway.url} welcome says {state or 'nothing'}")


def standing(sale, sh):
    """The newest state of the shopper in this sale, as their first socket knows it."""
    p = sale.promo["id"]
    states = [f for f in sh.s.frames if f["type"] == "state" and f["promo_id"] == p]
    return states[-1] if states else next((s for s in sh.s.welcome["states"] if s["promo_id"] == p), {})


async def ordered(sale, sh):
    """One step towards an order; true when it is accepted."""
    p, state = sale.promo["id"], standing(sale, sh)
    if state.get("number"):
        was = sale.numbers.setdefault(sh.id, state["number"])
        sale.check("place", state["number"] == was, f"user {sh.id} had {was}: {state}")
    if sh.id not in sale.request:
        if state.get("phase", "none") == "none":
            await sh.join(p)
            return False
        if state["phase"] != "admitted":
            await news(sale, sh)
            return False
        sale.request[sh.id] = str(uuid.uuid4())
    try:
        a = await sh.order(rid=sale.request[sh.id], promo_id=p)
    except Missed as e:
        note("late answer", f"{sale.fault}: an order unanswered for 8 s: {e}")
        return False
    if a["type"] == "accepted":
        sale.order[sh.id] = a["order_id"]
        return True
    check("order.reasons", a.get("reason") in ("not_ready", "unavailable", "rate_limited"),
          f"{sale.fault}: user {sh.id} with a pass: {a}")
    note(f"{sale.fault} refused", a)
    sale.request.pop(sh.id)
    await asyncio.sleep(a.get("retry_after_ms", 300) / 1000)
    return False


async def news(sale, sh):
    """Waits until something is said on the first socket, or the sale is over."""
    mark = len(sh.s.frames)
    tasks = [asyncio.create_task(sale.over.wait()),
             asyncio.create_task(sh.s.wait(is_("state", promo_id=sale.promo["id"]), 120, mark))]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()


async def outcome(sale, sh):
    """The outcome of the accepted order, as this socket hears it: a frame, or `welcome` after one was missed."""
    oid, began, wait = sale.order[sh.id], time.monotonic(), 8 + sale.w.slack
    frame = await first_of(sh.s, oid, wait)
    if not sale.check("one_outcome", frame is not None,
                      f"order {oid}: nothing within {wait} s on a socket of {sh.s.gateway.url}; "
                      f"the row: {await again(sh, 'GET', f'/orders/{oid}')}"):
        return "unknown"
    sale.settled += 1
    sale.waits.append(time.monotonic() - began)
    sale.check("one_outcome", frame["status"] == "awaiting_payment", f"order {oid}: {frame}")
    # Said again, on whichever gateway, it is the same order.
    b = await again(sh, "POST", "/orders", {"promo_id": sale.promo["id"], "quantity": 1,
                                            "request_id": sale.request[sh.id]})
    sale.check("repeat", b.status == 202 and b.json["order_id"] == oid, f"{oid}: {b}")
    return frame["status"]


async def first_of(sock, order_id, timeout):
    said = next((s for s in sock.welcome["states"] if s.get("order_id") == order_id
                 and s.get("status") not in (None, "pending")), None)
    try:
        return said or await sock.wait(is_("outcome", order_id=order_id), timeout)
    except Missed:
        return None


async def close_order(sale, sh, status):
    """Pays; some cancel, and some let the payment window pass."""
    oid, number = sale.order[sh.id], sale.numbers.get(sh.id, 0)
    if number % 16 == 5:
        async def expired():
            row = await again(sh, "GET", f"/orders/{oid}")
            return row.json["status"] == "expired"
        try:
            await until(f"{oid} expires", sale.window + 10 + sale.w.slack, expired, 0.5)
        except Missed as e:
            sale.check("one_outcome", False, e)
        sale.ended[oid] = "expired"
        return
    verb, wanted = ("cancel", "cancelled") if number % 8 == 3 else ("pay", "paid")
    a = await again(sh, "POST", f"/orders/{oid}/{verb}")
    if sale.check("one_outcome", a.status == 200 and a.json["status"] == wanted, f"{verb} of {status} {oid}: {a}"):
        sale.ended[oid] = wanted


async def regular(sale, sh, item, stop, bought):
    """Buys at list price over REST without end, a call on one gateway and the next on the other."""
    while not stop.is_set():
        body = {"item_id": item["id"], "quantity": 1, "request_id": str(uuid.uuid4())}
        REPEATED.add(body["request_id"])
        a, b = await again(sh, "POST", "/orders", body), await again(sh, "POST", "/orders", body)
        if not sale.check("list_price", a.status == b.status == 202 and a.json["order_id"] == b.json["order_id"],
                          f"user {sh.id}: {a} {b}"):
            await asyncio.sleep(0.3)
            continue
        oid, began = a.json["order_id"], time.monotonic()
        bought.append((sh, oid))

        async def settled():
            row = await again(sh, "GET", f"/orders/{oid}")
            return row.json["status"] if row.status == 200 and row.json["status"] != "pending" else None
        try:
            status = await until("an outcome", 8 + sale.w.slack, settled, 0.1)
        except Missed as e:
            sale.check("list_price", False, f"order {oid}: {e}; {await again(sh, 'GET', f'/orders/{oid}')}")
            continue
        sale.listed += 1
        sale.waits.append(time.monotonic() - began)
        sale.check("list_price", status == "awaiting_payment", f"order {oid}: {status}")
        a = await again(sh, "POST", f"/orders/{oid}/pay")
        sale.check("list_price", a.status == 200 and a.json["status"] == "paid", f"order {oid}: {a}")
        await asyncio.sleep(0.2)


async def again(sh, method, path, body=None):
    """A call that is made again, on the next gateway, until one answers it for good."""
    end = time.monotonic() + 20 + sh.world.slack
    while True:
        try:
            a = await sh.call(method, path, body)
            if a.status not in (429, 502, 503, 504) or time.monotonic() > end:
                return a
            note(f"temporary {a.status}", f"{method} {path} -> {a}")
        except LOST:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.2)


# ---- What is checked when it is over ---------------------------------------------------------

async def heard(sale):
    """Exactly one outcome on every socket that lived through it, and the end of the order besides."""
    for sh, sockets in sale.sockets.items():
        oid = sale.order.get(sh.id)
        ended = sale.ended.get(oid)
        if oid is None:
            continue
        for sock in sockets:
            got = [f for f in sock.frames if f["type"] == "outcome" and f["order_id"] == oid]
            sale.check("one_outcome", len(got) <= 1, f"order {oid} on {sock.gateway.url}: {got}")
            if sock.task.done() or ended not in OVER:
                continue
            known = [s for s in sock.welcome["states"] if s.get("order_id") == oid and s.get("status") != "pending"]
            sale.check("one_outcome", got or known,
                       f"order {oid}: no outcome on {sock.gateway.url}; {sock.frames[-3:]}")
            if known and known[0]["status"] == ended:
                continue
            try:
                await sock.wait(is_("state", order_id=oid, status=ended), 8)
                sale.check("told", True)
            except LOST + (Missed,) as e:
                sale.check("told", False, f"{oid} {ended} on {sock.gateway.url}: {e}")


async def books(sale, buyers, plain, bought):
    """What the shop says in the end, asked on both gateways."""
    w, p = sale.w, sale.promo["id"]
    audits = []
    for gateway in w.gateways:
        a = await w.adm("GET", f"/promos/{p}/audit", gateway=gateway)
        audits.append({k: a[k] for k in ("initial", "available", "pending", "sold", "holds", "ok")})
        balanced(a, sale.stock, f"{sale.fault}.conserved")
        sale.check("no_double", a["sold"] == sale.stock and a["pending"] == a["available"] == 0,
                   f"{gateway.url}: {a}")
    check("nodes.agree", audits[0] == audits[-1], f"{sale.fault}: {audits}")
    rows = await asyncio.gather(*(sh.orders() for sh in buyers))
    count = Counter()
    for sh, all_ in zip(buyers, rows):
        own = [r for r in all_ if r.get("promo_id") == p]
        count.update(r["status"] for r in own)
        live = [r for r in own if r["status"] != "rejected"]
        sale.check("no_double", len(live) <= 1, f"user {sh.id}: {live}")
        sale.check("repeat", {r["order_id"] for r in live} <= {sale.order.get(sh.id)}, f"user {sh.id}: {live}")
        sale.check("one_outcome", all(sale.ended.get(r["order_id"], r["status"]) == r["status"] for r in live)
                   and set(sh.accepted) <= {r["order_id"] for r in own}, f"user {sh.id}: {own} {sh.accepted}")
    sale.check("no_double", count["paid"] == sale.stock, f"{count}")
    sale.check("one_outcome", not count["pending"] and not count["rejected"], f"{count}")
    numbers = Counter(sale.numbers.values())
    sale.check("place", max(numbers.values(), default=1) == 1, f"a number twice: {numbers.most_common(3)}")
    left, began = plain["stock"] - len(bought), time.monotonic()
    for gateway in w.gateways:
        async def exact():
            row = await w.must("GET", f"/items/{plain['id']}", gateway=gateway)
            return row["stock"] == left
        try:
            sale.check("list_price", await until(f"stock {left} on {gateway.url}", 8, exact, 0.3))
            note(f"{sale.fault} stock", f"GET /items was exact {time.monotonic() - began:.1f} s after the last order")
        except Missed as e:
            row = await w.must("GET", f"/items/{plain['id']}", gateway=gateway)
            sale.check("list_price", False, f"{e}, it is {row['stock']}")


# ---- What breaks -----------------------------------------------------------------------------

async def kill_each(servers, sale):
    """kill -9 of one; the sale goes on; it comes back, and it is the next one's turn."""
    for server in servers:
        await sale.progress()
        with out_of_use(sale.w, server):
            await server.kill()
            trace(f"{sale.fault}: killed {server.name}")
            await goes_on(sale, server)
            await server.start()
            await server.ready()


async def restart_each(servers, sale):
    """SIGTERM to one; it comes back; the next one."""
    for server in servers:
        await sale.progress()
        here = [s for socks in sale.sockets.values() for s in socks
                if s.gateway.port == server.port and not s.task.done()]
        began = time.monotonic()
        with out_of_use(sale.w, server):
            code = await server.stop()
            trace(f"{sale.fault}: {server.name}, {len(here)} sockets, ended with {code} "
                  f"after {time.monotonic() - began:.1f} s")
            sale.check("clean", code == 0, f"{server.name} ended with {code}")
            for s in here:
                got, last = await s.closed(5), s.frames[-1]
                ok = got == 1001 and last["type"] == "bye" and isinstance(last["reconnect_after_ms"], int)
                sale.check("clean", ok, f"{server.name} closed with {got} after {last}")
            await goes_on(sale, server)
            await server.start()
            await server.ready()


async def goes_on(sale, server):
    took = await sale.progress()
    sale.check("goes_on", took is not None,
               f"without {server.name}: {sale.settled} of {sale.stock}, and {sale.listed} at list price")
    note(f"{sale.fault} {server.name}", f"{STEP} outcomes of each kind without it took {took or -1:.1f} s")


@contextlib.contextmanager
def out_of_use(w, server):
    """No new call or socket goes to a gateway that is known to be away. A writer is no gateway: nothing changes."""
    away = [g for g in w.gateways if g.port == server.port]
    for gateway in away:
        gateway.up = False
    try:
        yield
    finally:
        for gateway in away:
            gateway.up = True


async def probes(fleet):
    """What every process answers, whatever its role."""
    for server in fleet.servers:
        for path in ("/healthz", "/readyz", "/metrics"):
            status, text = await server.get(path)
            check("nodes.probes", status == 200 and text, f"{server.name} {path}: {status} {text[:200]}")
    for server in fleet.writers:
        for path in ("/api/v1/items", "/ws", "/"):
            status, text = await server.get(path)
            check("nodes.probes", status == 404, f"{server.name} {path}: {status} {text[:200]}")
