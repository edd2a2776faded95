"""What is promised, what was seen of it, and the report.

Knows no server and no socket.
"""

import time
from collections import Counter, defaultdict

STARTED = time.monotonic()

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

# What a cluster promises besides, for each thing that happens to it in the middle of a sale.
FAULTS = {
    "gateways_killed": "kill -9 of each gateway in turn",
    "writers_killed": "kill -9 of each writer in turn",
    "rolling": "a rolling restart of all four by SIGTERM",
}
UNDER_FAULTS = {
    "goes_on": "the sale goes on while one is away",
    "place": "places keep their numbers, on whichever gateway the shopper comes back",
    "repeat": "a repeated request_id has the same order_id, on whichever gateway",
    "one_outcome": "every accepted order has exactly one outcome, on every socket that lives",
    "told": "paid, cancelled and expired reach every socket that lives",
    "conserved": "conservation, in the audits of both gateways",
    "no_double": "no oversell: every unit is sold once, no shopper has two live orders",
    "list_price": "orders over REST at list price: each accepted once, each with its outcome, stock exact",
}
CLUSTER = {
    "nodes.probes": "every gateway and writer answers /healthz, /readyz and /metrics, and a writer nothing else",
    "nodes.agree": "both gateways give the same audit when nothing moves",
    **{f"{fault}.{promise}": f"{what}: {text}"
       for fault, what in FAULTS.items() for promise, text in UNDER_FAULTS.items()},
    "rolling.clean": "a gateway that stops says bye, then 1001; every process ends with exit code 0",
}

seen = Counter()
failures = defaultdict(list)
notes = {}


def check(promise, ok, detail=""):
    assert promise in PROMISES or promise in CLUSTER, promise
    seen[promise] += 1
    if not ok:
        failures[promise].append(str(detail)[:400])
    return ok


def note(key, text):
    notes.setdefault(key, str(text)[:400])


def trace(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def report(own, cluster, broke=None):
    """Prints every promise, as `cluster.…` those of a cluster's run, and tells whether all were kept.

    Without servers of its `own`, a run cannot look at some of them; `broke` is what ended it early.
    """
    prefix = "cluster." if cluster else ""
    print()
    for key, text in sorted(notes.items()):
        print(f"NOTE {key}: {text}")
    print()
    passed = failed = 0
    for promise, text in {**PROMISES, **(CLUSTER if cluster else {})}.items():
        name = prefix + promise
        if not own and promise in OWN_ONLY:
            print(f"SKIP {name}: {text} (needs --server)")
            continue
        bad = failures.get(promise)
        if bad or not seen[promise]:
            failed += 1
            print(f"FAIL {name}: {text}")
            for d in (bad or ["never exercised"])[:4]:
                print(f"     {d}")
            if bad and len(bad) > 4:
                print(f"     … {len(bad)} of {seen[promise]} looks")
        else:
            passed += 1
            print(f"PASS {name}: {text} ({seen[promise]})")
    if broke:
        failed += 1
        print(f"FAIL the run broke off: {broke!r}")
    print(f"{passed} passed, {failed} failed")
    return failed == 0
