"""Holds a lock of redis-py until standard input closes: a part of the tests.

    redis_py.py URL KEY TTL_MS WAIT_MS

Prints `held`, then `released` or `lost`; or `busy`.
"""

import sys

import redis

url, key, ttl_ms, wait_ms = sys.argv[1:]
lock = redis.Redis.from_url(url).lock(key, timeout=int(ttl_ms) / 1000, sleep=0.01)
if not lock.acquire(blocking_timeout=int(wait_ms) / 1000):
    sys.exit(print("busy"))
print("held", flush=True)
sys.stdin.read()
try:
    lock.release()
    print("released")
except redis.exceptions.LockError:
    print("lost")
