"""A worker that eats memory until the kernel ends it: "out of memory"."""

import time

eaten = []
while True:
    eaten.append(b"x" * (8 << 20))  # written to, so that it is really used
    print(f"memory: {8 * len(eaten)} MiB eaten", flush=True)
    time.sleep(0.2)
