"""Servers of a run's own: one on embedded engines, or two gateways and two writers on the cluster engines.

Ends only the processes it started. Knows the command line, not the wire contract.
"""

import asyncio
import http.client
import os
import pathlib
import re
import secrets
import signal
import subprocess
import threading
import time
from urllib.parse import unquote, urlsplit, urlunsplit

import pymysql

ADMIN = ("admin@example.com", "an admin's password")
SETTINGS = ("PANICBUY_DATABASE_URL", "PANICBUY_REDIS_URL", "PANICBUY_KAFKA_BROKERS")
START_S = 60  # for a process to listen and to be ready
STOP_S = 20  # for a process to end by SIGTERM


class NotStarted(Exception):
    pass


class Server:
    """One process. It comes back on the port that it was given first."""

    def __init__(self, binary, folder, name, flags):
        self.binary, self.folder, self.name, self.flags = binary, folder, name, flags
        self.proc = self.url = None
        self.port = 0

    async def start(self):
        with open(self.log_file, "ab") as log:
            self.proc = subprocess.Popen(
                [self.binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--admin-email", ADMIN[0],
                 "--admin-password", ADMIN[1], *self.flags],
                stdout=subprocess.PIPE, stderr=log, cwd=self.folder, text=True)
        self.url = await asyncio.wait_for(asyncio.to_thread(self._listening), START_S)
        self.port = urlsplit(self.url).port
        threading.Thread(target=self.proc.stdout.read, daemon=True).start()
        return self.url

    def _listening(self):
        for line in self.proc.stdout:
            m = re.search(r"listening on (http://\S+)", line)
            if m:
                return m.group(1)
        raise NotStarted(f"{self.name} did not start: {self.log_end()}")

    async def ready(self):
        """Waits until /readyz says so."""
        end = time.monotonic() + START_S
        while (await self.get("/readyz"))[0] != 200:
            if time.monotonic() > end:
                raise NotStarted(f"{self.name} is not ready: {(await self.get('/readyz'))[1]}")
            await asyncio.sleep(0.05)

    async def get(self, path):
        return await asyncio.to_thread(self._get, path)

    def _get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    async def kill(self):
        self.proc.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.proc.wait)

    async def stop(self):
        """Ends it as a deploy does; returns its exit code, None if it had to be killed."""
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                await asyncio.to_thread(self.proc.wait, STOP_S)
            except subprocess.TimeoutExpired:
                await self.kill()
                return None
        return self.proc.returncode if self.proc else None

    @property
    def log_file(self):
        return os.path.join(self.folder, self.name + ".log")

    def log_end(self):
        with open(self.log_file, errors="replace") as log:
            return log.read()[-2000:]


class Fleet:
    """All the processes of one shop, and how to start one more gateway for it."""

    def __init__(self, binary, folder):
        self.binary, self.folder = os.path.abspath(binary), folder
        self.gateways, self.writers = [], []

    @property
    def servers(self):
        return self.gateways + self.writers

    async def start(self):
        """Starts them all at once, and waits until they are ready."""
        await asyncio.gather(*(s.start() for s in self.servers))
        await asyncio.gather(*(s.ready() for s in self.servers))

    async def kill(self):
        await asyncio.gather(*(s.kill() for s in self.servers))

    async def stop(self):
        """Ends what is left of them; returns the exit codes."""
        return await asyncio.gather(*(s.stop() for s in self.servers))


class Embedded(Fleet):
    def __init__(self, binary, folder):
        super().__init__(binary, folder)
        self.gateways = [self._server("sale", ["--heartbeat-ms", "5000"])]

    def another_gateway(self, name, flags):
        """A server of its own: an embedded one shares its database with nobody."""
        return self._server(name, flags)

    def _server(self, name, flags):
        database = "sqlite:" + os.path.join(self.folder, name + ".db")
        return Server(self.binary, self.folder, name, ["--database-url", database, *flags])


class Cluster(Fleet):
    """Two gateways and two writers that share a database, a Redis prefix and a topic of their own."""

    def __init__(self, binary, folder, database_url=None):
        super().__init__(binary, folder)
        database, redis, brokers = services()
        self.database = database_url or database
        self.name = f"test_{time.time_ns() // 1_000_000}_{os.getpid()}"
        self.flags = [
            "--database-url", urlunsplit(urlsplit(self.database)._replace(path="/" + self.name)),
            "--redis-url", redis, "--redis-prefix", self.name + ":", "--kafka-brokers", brokers,
            "--kafka-topic", self.name, "--kafka-group", self.name, "--kafka-partitions", "3",
            "--token-secret", secrets.token_hex(32), "--heartbeat-ms", "5000"]
        self.gateways = [self._server(f"gateway-{i}", "gateway") for i in (1, 2)]
        self.writers = [self._server(f"writer-{i}", "writer") for i in (1, 2)]
        self._tell_database(f"CREATE DATABASE `{self.name}`")

    def another_gateway(self, name, flags):
        """One more gateway of the same shop."""
        return self._server(name, "gateway", flags)

    async def stop(self):
        codes = await super().stop()
        await asyncio.to_thread(self._tell_database, f"DROP DATABASE IF EXISTS `{self.name}`")
        return codes

    def _server(self, name, role, flags=()):
        return Server(self.binary, self.folder, name, [*self.flags, "--role", role, *flags])

    def _tell_database(self, statement):
        url = urlsplit(self.database)
        connection = pymysql.connect(
            host=url.hostname, port=url.port or 3306, user=unquote(url.username or "root"),
            password=unquote(url.password or ""), connect_timeout=10)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)


def services():
    """The servers that tests share, started if they do not run yet."""
    script = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "services"
    printed = subprocess.run([script, "up"], stdout=subprocess.PIPE, text=True, check=True).stdout
    settings = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    return [settings[name] for name in SETTINGS]
