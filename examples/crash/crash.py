"""An application that serves for a while and then dies of its own mistake."""

import os
import threading
import time
from http.server import HTTPServer, SimpleHTTPRequestHandler


def serve():
    HTTPServer(("", int(os.environ["PORT"])), SimpleHTTPRequestHandler).serve_forever()


threading.Thread(target=serve, daemon=True).start()
seconds = float(os.environ.get("CRASH_AFTER", "5"))
print(f"crash: fine for {seconds:g} s more", flush=True)
time.sleep(seconds)
print("crash: about to make a mistake", flush=True)
os._exit(int(os.environ.get("CRASH_STATUS", "7")))
