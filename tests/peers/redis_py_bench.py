"""redis-py's Lock with its defaults, measured: a part of the bench.

    redis_py_bench.py URL KEY pairs|handovers COUNT

Does a round for each line on standard input, and prints seconds: of all pairs
together, or of each handover from just before the release to the next holder.
"""

import sys
import threading
import time

import redis

url, key, what, count = sys.argv[1:]
count = int(count)


def lock():
    return redis.Redis.from_url(url).lock(key, timeout=30, thread_local=False)


def pairs():
    ours = lock()
    began = time.monotonic()
    for _ in range(count):
        ours.acquire()
        ours.release()
    return [time.monotonic() - began]


def handovers():
    seconds, locks = [], [lock(), lock()]
    locks[0].acquire()
    for at in range(count):
        held, following = locks[at % 2], locks[(at + 1) % 2]
        taken = []
        waiter = threading.Thread(target=lambda: taken.append((following.acquire(), time.monotonic())))
        waiter.start()
        time.sleep(0.015)
        released = time.monotonic()
        held.release()
        waiter.join()
        seconds.append(taken[0][1] - released)
    locks[count % 2].release()
    return seconds


for _ in sys.stdin:
    print(*{"pairs": pairs, "handovers": handovers}[what](), flush=True)
