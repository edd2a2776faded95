#!/usr/bin/env python3
"""An independent client of PanicBuying, written from the wire contract alone.

It runs whole flash sales against a real server and checks every promise of the contract on the way:

    pip install -r requirements.txt
    python sale.py --server PATH_TO_BINARY
    python sale.py --server PATH_TO_BINARY --cluster [--database-url URL]
    python sale.py --url http://HOST:PORT --admin-email EMAIL --admin-password PASSWORD

With --server it starts the server itself, and also kills and restarts it. With --cluster it starts two gateways and
two writers on the servers of `scripts/services`, spreads every shopper over both gateways, and kills and restarts
the processes in turn. Prints every promise with PASS or FAIL, what the contract leaves open as NOTE, and ends with
`N passed, M failed`.
"""

import argparse
import asyncio
import functools
import os
import shutil
import sys
import tempfile
import traceback

import faults
from client import World
from contract import admin_only, mute, rest_checks, socket_checks
from crash import brief_server, crash_sale
from promises import check, failures, note, report, trace
from sales import main_sale, small_sale, timed_sale
from server import ADMIN, Cluster, Embedded
from shop import login_admin, make_item, make_promo, sign_up

LIMIT_S, CLUSTER_LIMIT_S = 170, 600  # for the whole run
CLUSTER_SLACK_S = 15  # a dead writer's partitions are taken over within


async def guarded(name, promise, job):
    """A job that breaks off breaks its promise, and not the run."""
    try:
        await job
    except Exception as e:
        check(promise, False, f"{name} broke off: {e!r} {traceback.format_exc()[-500:]}")
        trace(f"{name} broke off: {e!r}")


async def run(args):
    with tempfile.TemporaryDirectory(prefix="panicbuy-") as folder:
        if not args.server:
            return await sales(World([args.url], args.admin_email, args.admin_password), None)
        fleet = Cluster(args.server, folder, args.database_url) if args.cluster else Embedded(args.server, folder)
        try:
            await fleet.start()
            urls = [s.url for s in fleet.gateways]
            await sales(World(urls, *ADMIN, slack=CLUSTER_SLACK_S if args.cluster else 0), fleet)
        finally:
            note("stop", f"exit codes after SIGTERM: {await fleet.stop()}")
            if failures or sys.exc_info()[0]:
                keep_logs(folder, "cluster" if args.cluster else "embedded")


async def sales(w, fleet):
    await login_admin(w)
    trace(f"servers at {' '.join(g.url for g in w.gateways)}")
    background = [asyncio.create_task(mute(g)) for g in w.gateways]
    shoppers = await sign_up(w, 132, "shopper")
    crowd, extras = shoppers[:120], shoppers[120:]
    trace("132 shoppers registered and logged in")

    side_item = await make_item(w, 500, 50)
    side = await make_promo(w, side_item, 300, 5, 3600, 10, 5, 10000, 10000)
    await guarded("REST checks", "rest.problem", rest_checks(w, extras[9]))
    await guarded("admin checks", "rest.admin_only", admin_only(w, extras[9], side_item, side))
    trace("REST checked")
    background += [asyncio.create_task(guarded("socket checks", "ws.nonsense",
                                               socket_checks(w, extras[10], extras[11], side)))]
    if fleet:
        background.append(asyncio.create_task(guarded("the brief server", "close.4003", brief_server(fleet))))
    await asyncio.gather(guarded("the main sale", "resale", main_sale(w, crowd, extras)),
                         guarded("the small sale", "admin.pause", small_sale(w, extras)))
    await guarded("the timed sale", "end.by_time", timed_sale(w, extras))
    await asyncio.gather(*background)
    trace("side checks over")
    if fleet:
        await guarded("the crash", "crash.outcomes", crash_sale(w, fleet, crowd))
        trace("crash checked")
    if fleet and fleet.writers:
        await faults_of_cluster(w, fleet, crowd)


async def faults_of_cluster(w, fleet, crowd):
    await guarded("the probes", "nodes.probes", faults.probes(fleet))
    for fault, stock, break_, servers in (
            ("gateways_killed", 40, faults.kill_each, fleet.gateways),
            ("writers_killed", 80, faults.kill_each, fleet.writers),
            ("rolling", 80, faults.restart_each, fleet.servers)):
        await guarded(fault, f"{fault}.goes_on", faults.sale_under_faults(
            w, fault, stock, crowd, functools.partial(break_, servers)))


def keep_logs(folder, name):
    keep = os.path.join(tempfile.gettempdir(), f"panicbuy-foreign-{name}")
    shutil.rmtree(keep, ignore_errors=True)
    os.mkdir(keep)
    for file in os.listdir(folder):
        if file.endswith(".log"):
            shutil.copy(os.path.join(folder, file), keep)
    print("server logs:", keep)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--server", help="start this binary in a temporary folder")
    ap.add_argument("--cluster", action="store_true", help="start it as two gateways and two writers")
    ap.add_argument("--database-url", help="the cluster's database server, if not that of scripts/services")
    ap.add_argument("--url", help="use a running server")
    ap.add_argument("--admin-email")
    ap.add_argument("--admin-password")
    args = ap.parse_args()
    if bool(args.server) == bool(args.url) or (args.url and not (args.admin_email and args.admin_password)):
        ap.error("either --server, or --url with --admin-email and --admin-password")
    if args.cluster and not args.server or args.database_url and not args.cluster:
        ap.error("--cluster goes with --server, and --database-url with --cluster")
    broke = None
    try:
        asyncio.run(asyncio.wait_for(run(args), CLUSTER_LIMIT_S if args.cluster else LIMIT_S))
    except Exception as e:  # still print what was seen
        broke = e
    sys.exit(0 if report(bool(args.server), args.cluster, broke) else 1)


if __name__ == "__main__":
    main()
