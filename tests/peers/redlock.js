// Holds a lock of node-redlock until standard input closes: a part of the tests.
//
//     redlock.js URL[,URL...] KEY TTL_MS WAIT_MS
//
// Prints `held`, then `released` or `lost`; or `busy`.
"use strict";
const Redis = require("ioredis");
const { default: Redlock, ExecutionError } = require("redlock");

const RETRY_MS = 50;

// Until it is connected, or known to be down: then it votes against, at once.
function settled(client) {
  client.on("error", () => {});
  return new Promise((done) => client.once("ready", done).once("close", done));
}

async function main([urls, key, ttlMs, waitMs]) {
  const clients = urls.split(",").map((url) => new Redis(url, { enableOfflineQueue: false }));
  await Promise.all(clients.map(settled));
  const retries = Math.ceil(Number(waitMs) / RETRY_MS);
  const redlock = new Redlock(clients, { retryCount: retries, retryDelay: RETRY_MS, retryJitter: 0 });
  const refused = (word) => (error) => {
    if (!(error instanceof ExecutionError)) throw error;
    console.log(word);
  };
  const lock = await redlock.acquire([key], Number(ttlMs)).catch(refused("busy"));
  if (lock) {
    console.log("held");
    for await (const _ of process.stdin);
    await redlock.release(lock, { retryCount: 0 }).then(() => console.log("released"), refused("lost"));
  }
  clients.forEach((client) => client.disconnect());
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
