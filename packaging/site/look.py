"""look.py FOLDER PICTURES: a headless browser looks at every page of the site, 360 and 1280 pixels wide, asks its search, and makes
pictures of some. Nothing but this machine can be reached by it."""

import functools
import html
import http.server
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import zlib

site, pictures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
browser = sys.argv[3]
pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name not in ("404.html", "toc.html"))
asked = []


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, form, *arguments):
        asked.append(form % arguments)

    def do_GET(self):
        if self.path.startswith("/look/"):
            _, _, width, page = self.path.split("/", 3)
            body = f'<!doctype html><style>*{{margin:0;border:0}}</style><iframe src="/{page}" style="width:{width}px;height:900px"></iframe>'
        elif self.path == "/look.html":
            body = (pathlib.Path(__file__).parent / "look.html").read_text(encoding="utf-8").replace("PAGES", json.dumps(pages), 1)
        else:
            return super().do_GET()
        body = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


def run(*arguments):
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server",
             f"--user-data-dir={profile}", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300,
        )
    if done.returncode:
        sys.exit(f"{browser} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode(errors="replace")


def colours(path):
    """How many different rows of pixels a picture has: an empty page has one."""
    data = path.read_bytes()
    width, height, _, kind = struct.unpack(">IIBB", data[16:26])
    at, packed = 8, b""
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + size] if name == b"IDAT" else b""
        at += 12 + size
    raw = zlib.decompress(packed)
    line = 1 + width * {2: 3, 6: 4}[kind]
    return len({raw[n * line:(n + 1) * line] for n in range(height)})


document = run("--virtual-time-budget=600000", "--dump-dom", f"{address}/look.html")
found = re.search(r'<pre id="result">(.*?)</pre>', document, re.DOTALL)
text = html.unescape(found[1]) if found else "no document"
try:
    result = json.loads(text)
except ValueError:
    sys.exit(f"the browser came to no end: {text}")
lost = [line for line in asked if re.search(r'" (4|5)\d\d ', line) and "favicon.ico" not in line]
if result["faults"] or lost or result["looked"] != 2 * len(pages):
    sys.exit("\n".join(result["faults"] + lost + [f"{result['looked']} looks at {len(pages)} pages"]))

pictures.mkdir(parents=True, exist_ok=True)
for page in ("index.html", "configuration.html", "recipes/registration.html"):
    for width in (360, 1280):
        picture = pictures / f"{page.replace('/', '-').removesuffix('.html')}-{width}.png"
        run("--virtual-time-budget=10000", f"--window-size={max(width, 500)},900", f"--screenshot={picture}", f"{address}/look/{width}/{page}")
        if colours(picture) < 50:
            sys.exit(f"{picture} shows nothing")
print(f"    {result['looked']} looks, no fault; pictures in {pictures}")
