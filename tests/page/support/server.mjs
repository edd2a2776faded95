// Starts the server under test on a port and a database of its own, and ends exactly that process.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 10_000;

export const ADMIN = { email: "admin@shop.example", password: "correct horse battery staple" };

function binary() {
  if (process.env.PANICBUY_BIN) return resolve(process.env.PANICBUY_BIN);
  const built = ["release", "debug"].map((profile) => join(HERE, "../../../target", profile, "panicbuy"));
  const found = built.find(existsSync);
  if (!found) throw new Error(`build the server first, or set PANICBUY_BIN; looked for ${built.join(" and ")}`);
  return found;
}

export async function startServer({ port = 0, dir, args = [] } = {}) {
  const home = dir ?? (await mkdtemp(join(tmpdir(), "panicbuy-page-")));
  const child = spawn(binary(), [
    "serve",
    "--listen", `127.0.0.1:${port}`,
    "--database-url", `sqlite:${join(home, "shop.db")}`,
    "--admin-email", ADMIN.email,
    "--admin-password", ADMIN.password,
    ...args,
  ], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk) => { errors = (errors + chunk).slice(-20_000); });
  const gone = new Promise((settle) => child.once("exit", settle));
  const url = await listening(child, gone, () => errors).catch(async (error) => {
    child.kill("SIGKILL");
    await rm(home, { recursive: true, force: true });
    throw error;
  });

  return {
    url,
    home,
    port: Number(new URL(url).port),
    errors: () => errors,
    /** As a power cut does it: nothing is flushed, nobody is told. */
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
    async stop({ keep = false } = {}) {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await gone;
      clearTimeout(late);
      if (!keep) await rm(home, { recursive: true, force: true });
    },
  };
}

function listening(child, gone, errors) {
  return new Promise((settle, fail) => {
    let out = "";
    const late = setTimeout(() => fail(new Error(`the server did not say that it listens:\n${errors()}`)), START_TIMEOUT_MS);
    child.once("error", fail);
    gone.then((code) => fail(new Error(`the server ended with ${code}:\n${errors()}`)));
    child.stdout.on("data", (chunk) => {
      out += chunk;
      const said = /listening on (http:\/\/\S+)/.exec(out);
      if (!said) return;
      clearTimeout(late);
      settle(said[1].replace(/\/$/, ""));
    });
  });
}
