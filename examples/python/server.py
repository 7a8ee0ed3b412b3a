"""A small web application on nothing but Python's standard library."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INDEX = os.environ.get("CF_INSTANCE_INDEX", "?")


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            self.send_error(404)
            return
        body = f"Hello from Python {sys.version.split()[0]}, instance {INDEX}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print("python:", format % args, flush=True)


def main():
    # Python would die of SIGTERM anyway; this way it ends with status 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ["PORT"])
    print(f"python: listening on {port}", flush=True)
    ThreadingHTTPServer(("", port), Hello).serve_forever()


if __name__ == "__main__":
    main()
